"""C2PA: a manifest for a generated image, which says by which model it was made, and which training images are behind it.

It is one of C2PA 2 ("Content Credentials"): the action `c2pa.created` by a trained model, the checkpoint, the training set and the best
training images as its inputs (`inputTo`), and an assertion of ours with their scores and the proofs of these.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mucs import InputError, __version__
from mucs.exports.credential import Credential
from mucs.files import file_sha256
from mucs.ledger import Ledger
from mucs.ledger.prove import prove_best
from mucs.text import first_line

ASSERTION = "dev.mucs.attribution"
CAVEAT = "Scores are measured, and each has its standard error beside it. A high score is not proof of cause."
MADE_BY_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
TRAINING = "cawg.ai_generative_training"
USES = ("notAllowed", "allowed", "constrained")  # of the image, for training others
FORMATS = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".tif": "image/tiff",
}
SETTINGS = {"builder": {"thumbnail": {"enabled": False}}}  # one would add 875 kB
INPUTS = """SELECT r.method, c.sha256 AS checkpoint, t.sha256 AS training_set, a.converged, a.tie_p_value::DOUBLE AS tie_p_value
FROM runs r JOIN artifacts c ON c.artifact_id = r.checkpoint_id JOIN artifacts t ON t.artifact_id = r.training_set_id
JOIN attributions a USING (run_id) JOIN generated_items g USING (generated_id)
WHERE r.sha256 = ? AND g.id = ? AND g.sha256 = ?"""


@dataclass(frozen=True)
class Marked:
    """An image's manifest.

    Attributes:
        manifest: Its bytes, as a sidecar has them.
        image: The image with the manifest in it, if it was to be there.
    """

    manifest: bytes
    image: bytes | None


def definition(
    ledger: Ledger, image: Path, top: int = 10, use: str = USES[0], as_of: str = "infinity"
) -> dict[str, Any]:
    """What the manifest of a generated image says, as C2PA's tools take it; the same ledger and image give the same.

    Args:
        ledger: Open.
        image: Its file, whose SHA-256 the ledger knows.
        top: How many training images are named at the most: of the best, those with a positive score.
        use: Whether others may train on it; one of USES.
        as_of: What the ledger knew then.

    Raises:
        InputError: If the file is of no known format, or the ledger has no attribution of just this image.
    """
    format = FORMATS.get(image.suffix.lower())
    if format is None:
        raise InputError(f"{image} is of no format that a manifest is made for; give one of {', '.join(FORMATS)}.")
    sha256 = file_sha256(image)
    is_known = ledger.one("SELECT 1 FROM generated_items WHERE sha256 = ?", sha256) is not None
    found = ledger.ask("why", generated=sha256, top=top, as_of=as_of) if is_known else []
    if len({row["generated"] for row in found}) != 1:
        what = (
            f"has {len({row['generated'] for row in found})} generated items with" if found else "has no attribution of"
        )
        raise InputError(f"The ledger {what} the image {image} (SHA-256 {sha256[:12]}…); see `mucs ask attributed`.")
    run, generated = found[0]["run"], found[0]["generated"]
    (inputs,) = ledger.rows(INPUTS, [run, generated, sha256])
    proofs = prove_best(ledger, run, generated, sha256, top)
    causes = [
        {
            "rank": row["rank"],
            "training": row["training"],
            "sha256": row["training_sha256"],
            "rights_holder": row["holder_today"],
            "licence": row["licence_today"],
            "score": row["score"],
            "standard_error": row["standard_error"],
            "proof": {name: proof[name] for name in proof if name not in ("run", "root", "generated")},
        }
        for row, proof in zip(found, proofs, strict=True)
        if row["score"] > 0
    ]
    said = {
        "caveat": CAVEAT,
        "method": inputs["method"],
        "run": run,
        "edges_root": proofs[0]["root"],
        "generated": proofs[0]["generated"],
        "image_sha256": sha256,
        "verdict": found[0]["verdict"],
        "converged": inputs["converged"],
        "tie_p_value": inputs["tie_p_value"],
        "causes": causes,
    }
    ingredients = [
        _ingredient("checkpoint", "checkpoint", inputs["checkpoint"], "the model that made it", "c2pa.types.model"),
        _ingredient(
            "training set",
            "training set",
            inputs["training_set"],
            "what the model was trained on",
            "c2pa.types.dataset",
        ),
        *(
            _ingredient(
                f"rank {each['rank']}", each["training"], each["sha256"], _words(each), "c2pa.types.dataset.image"
            )
            for each in causes
        ),
    ]
    created = {
        "action": "c2pa.created",
        "digitalSourceType": MADE_BY_MODEL,
        "parameters": {"ingredientIds": [each["label"] for each in ingredients]},
    }
    return {
        "claim_generator_info": [{"name": "mucs", "version": __version__}],
        "title": image.name,
        "format": format,
        "ingredients": ingredients,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": ASSERTION, "data": said, "kind": "Json"},
            {"label": "cawg.training-mining", "data": {"entries": {TRAINING: {"use": use}}}},
        ],
    }


def sign(said: dict[str, Any], image: Path, credential: Credential, embed: bool = False) -> Marked:
    """The manifest of an image, signed.

    Args:
        said: What it says, by `definition`.
        image: The file.
        credential: What it is signed with.
        embed: Whether the image is wanted with the manifest in it, which has other bytes.

    Raises:
        InputError: If the file is not of its format, or the certificate is none that C2PA takes.
    """
    c2pa = _library()
    body, out = image.read_bytes(), io.BytesIO()
    try:
        builder = c2pa.Builder.from_json(json.dumps(said), context=c2pa.Context(c2pa.Settings.from_dict(SETTINGS)))
        if not embed:
            builder.set_no_embed()
        info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ED25519, credential.chain, credential.key, None)
        manifest = builder.sign(c2pa.Signer.from_info(info), said["format"], io.BytesIO(body), out)
    except c2pa.C2paError as error:
        raise InputError(
            f"The manifest of {image} cannot be signed ({first_line(error)}); see whether the file is a whole image, and whether the"
            " certificate is one for signing that C2PA takes."
        ) from None
    return Marked(bytes(manifest), out.getvalue() if embed else None)


def image_of(said: dict[str, Any]) -> str:
    """The SHA-256 of the image that a manifest is of, as the ledger knows it."""
    return str(said["assertions"][1]["data"]["image_sha256"])


def state_of(image: Path, manifest: bytes | None = None, anchor: bytes | None = None) -> str:
    """What C2PA's own reader says of an image: Valid, Trusted (by the anchor), or Invalid.

    Args:
        image: The file, with its manifest in it unless one is given.
        manifest: The sidecar's bytes.
        anchor: The certificate to trust, as PEM.

    Raises:
        InputError: If there is no manifest, or it cannot be read.
    """
    c2pa = _library()
    trust = {"trust": {"trust_anchors": (anchor or b"").decode()}, "verify": {"verify_trust": True}} if anchor else {}
    try:
        context = c2pa.Context(c2pa.Settings.from_dict(trust)) if trust else None
        stream = io.BytesIO(image.read_bytes())
        with c2pa.Reader(FORMATS[image.suffix.lower()], stream, manifest, context=context) as reader:
            return str(reader.get_validation_state())
    except c2pa.C2paError as error:
        raise InputError(
            f"The manifest of {image} cannot be read ({first_line(error)}); give the one that was made for it."
        ) from None


def _ingredient(label: str, title: str, sha256: str, description: str, kind: str) -> dict[str, Any]:
    return {
        "title": title,
        "relationship": "inputTo",
        "instance_id": f"sha256:{sha256}",
        "label": label,
        "description": description,
        "data_types": [{"type": kind}],
    }


def _words(cause: dict[str, Any]) -> str:
    error = "" if cause["standard_error"] is None else f" ± {cause['standard_error']:.4f}"
    return (
        f"rank {cause['rank']} behind it, score {cause['score']:.4f}{error}; rights holder: {cause['rights_holder']};"
        f" licence: {cause['licence']}"
    )


def _library() -> Any:
    try:
        import c2pa
    except ImportError:
        raise InputError("The package c2pa-python is missing; run: pip install 'mucs[exports]'.") from None
    return c2pa
