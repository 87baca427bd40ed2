"""A registry is hostile: nothing in it runs, and nothing of it is obeyed but where on S3 its bytes are."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from mucs import InputError
from tasks.pull import pull
from tasks.registry import Stored, open_registry, recorded
from tasks.s3 import client

CONFIG = "[core]\n    remote = s3\n['remote \"s3\"']\n    url = s3://registry/hostile\n"
MD5 = "0123456789abcdef0123456789abcdef"
FILES = "outs:\n- hash: md5\n  path: train\n  files:\n"
TRAIN = f"outs:\n- md5: {MD5}.dir\n  size: 1\n  nfiles: 1\n  hash: md5\n  path: train\n"


def git(folder, *words):
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "core.hooksPath=/dev/null")
    subprocess.run(("git", *identity, *words), cwd=folder, check=True, capture_output=True)


def make(folder: Path, config: str = CONFIG, **files: str) -> Path:
    """A Git repository with these files, tagged v1."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for name, text in {".dvc/config": config, "train.dvc": TRAIN, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "-Af")
    git(folder, "commit", "-qm", "all")
    git(folder, "tag", "v1")
    return folder


def refused(registry: object, words: str, revision: str = "v1", path: str = "train") -> None:
    with pytest.raises(InputError, match=words) as stopped:
        open_registry(str(registry), revision, path)
    assert str(stopped.value).isprintable()
    assert len(str(stopped.value)) < 2000


def test_what_dvc_tracks_is_read_from_the_revision(tmp_path):
    lock = f"schema: '2.0'\nstages:\n  a:\n    cmd: false\n    outs:\n    - path: made\n      hash: md5\n      md5: {MD5}\n"
    more = {"sub/dvc.lock": lock, "sub/README.md": "", "dvc.yaml": "", "other/train.dvc": "{"}
    config = "# ours\n[core]\n  remote = two  # the second\n  analytics = false\n['remote \"one\"']\nurl = ssh://a\n"
    config += "['remote \"two\"']\n    url = s3://registry/deep/prefix/\n    region = eu-central-1\n    endpointurl = https://s3.example.org:9000\n"
    folder = make(tmp_path / "registry", config, **more)
    (folder / ".dvc" / "config").write_text("changed since")
    (folder / ".dvc" / "config.local").write_text("changed since")
    opened = open_registry(str(folder), "v1", "sub")
    assert opened.remote.url == "s3://registry/deep/prefix"
    assert opened.remote.key("sub/made", Stored(MD5)) == (f"deep/prefix/files/md5/{MD5[:2]}/{MD5[2:]}", None)
    assert (opened.remote.region, opened.remote.endpoint) == ("eu-central-1", "https://s3.example.org:9000")
    assert opened.outputs == {"train": Stored(f"{MD5}.dir"), "sub/made": Stored(MD5)}
    assert "sub/README.md" in opened.tracked
    assert open_registry(f"file://{folder}", "HEAD", "train").commit == opened.commit


def remote(**settings):
    lines = {"url": "s3://registry/hostile"} | settings
    return "[core]\nremote = s3\n['remote \"s3\"']\n" + "".join(f"{k} = {v}\n" for k, v in lines.items())


CONFIGS = {
    "a version that is neither": (remote(version_aware="maybe"), "sets version_aware to 'maybe'; write true or false"),
    **{
        f"remote {key}": (remote(**{key: "x"}), f"sets {key} of the remote 's3', which is not taken from a registry: only url")
        for key in ("configpath", "credentialpath", "profile", "access_key_id", "ssl_verify", "worktree",
                    "use_ssl", "session_token", "ask_password", "password", "keyfile", "custom_auth_header", "allow_anonymous_login")
    },
    **{
        f"a remote at {url}": (remote(url=url), "only s3://bucket/prefix is taken")
        for url in ("/srv/data", "../data", "ssh://host/data", "exec://x", "remote://other/x", "http://host/", "s3://key:secret@bucket/x",
                    "s3://", "S3:/x", "file:///etc", "azure://x", "gdrive://x", "s3://../x", "s3://b/x?versionId=1")
    },
    **{
        f"core.{key}": (CONFIG.replace("[core]", f"[core]\n{key} = x"), f"sets core.{key}, which is not taken")
        for key in ("site_cache_dir", "machine", "hardlink_lock", "checksum_jobs", "no_scm")
    },
    **{
        f"section {name}": (CONFIG + f"[{name}]\ndir = x\n", rf"has a section \[{name}\], which is not taken")
        for name in ("cache", "state", "index", "plots", "feature", "hydra", "exp", "parsing", "studio", "db")
    },
    "a section of machines": (CONFIG + "['machine \"m\"']\nstartup_script = x\n", "cannot be read: line 5"),
    "a section in a section": (CONFIG + "[[x]]\n", "cannot be read: line 5"),
    "several lines": (CONFIG + "region = '''a\nb'''\n", "line 5|line 6|is none"),
    "a key outside": ("remote = s3\n" + CONFIG, "cannot be read: line 1"),
    "twice": (CONFIG + "url = s3://other\n", "sets url twice"),
    "an escape": (remote(url="s3://b/\x1b[2J"), "what cannot be shown, in line 4"),
    "no remote": ("[core]\nanalytics = false\n", "does not say which remote"),
    "another remote": ("[core]\nremote = r\n" + CONFIG.partition("\n")[2].partition("\n")[2], "does not say which remote"),
    "empty": ("", "does not say which remote"),
    "no url": ("['remote \"s3\"']\nregion = a\n", "its data at 'no address'"),
    "interpolated": (remote(url="%(url)s"), "only s3://bucket/prefix"),
    "a region": (remote(region="evil.example.org/"), "names the region 'evil.example.org/', which is none"),
    "an endpoint": (remote(endpointurl="file:///etc"), "which is no plain http"),
    "an endpoint with a password": (remote(endpointurl="http://a:b@host"), "which is no plain http"),
    "an endpoint without end": (remote(endpointurl="http://[::1"), "which is no plain http"),
}  # fmt: skip


@pytest.mark.parametrize(("config", "words"), CONFIGS.values(), ids=CONFIGS)
def test_a_configuration_of_more_than_an_address_is_refused(tmp_path, config, words):
    refused(make(tmp_path / "registry", config), words)


OUTS = {
    "an absolute path": (TRAIN.replace("path: train", "path: /etc"), "tracks '/etc', which is no path in its folder"),
    "a path above": (TRAIN.replace("path: train", "path: ../train"), "which is no path in its folder"),
    "no path": ("outs:\n- md5: a\n", "which is no path in its folder"),
    "another remote": (TRAIN + "  remote: r\n", r"keeps 'train' in a way of its own \(remote\)"),
    "files that are none": (TRAIN + "  files:\n  - a\n", "tracks 'None', which is no path in its folder"),
    "files that are a text": (TRAIN + "  files: a\n", "does not list the files of 'train'"),
    "a file that leaves its folder": (
        f"{FILES}  - relpath: ../a\n    md5: {MD5}\n",
        r"tracks '\.\./a', which is no path",
    ),
    "a file that is a folder": (f"{FILES}  - relpath: a\n    md5: {MD5}.dir\n", "gives no MD5 of 'train/a'"),
    "a file twice": (
        f"{FILES}  - {{relpath: a, md5: {MD5}}}\n  - {{relpath: a, md5: {'b' * 32}}}\n",
        "says two things of 'train/a'",
    ),
    "a version that is none": (
        f"{FILES}  - {{relpath: a, md5: {MD5}, cloud: {{s3: {{version_id: [1]}}}}}}\n",
        "which version of 'train/a'",
    ),
    "versions that are a text": (f"{FILES}  - {{relpath: a, md5: {MD5}, cloud: s3}}\n", "which version of 'train/a'"),
    "settings of a file system": (TRAIN + "  fs_config:\n    url: x\n", r"way of its own \(fs_config\)"),
    "a folder to work in": (TRAIN + "wdir: ../x\n", "a folder of its own to work in"),
    "an older DVC": (TRAIN.replace("hash: md5", "isexec: true"), "before version 3"),
    "no MD5": (TRAIN.replace(MD5, "../../x"), "gives no MD5 of 'train'"),
    "no list": ("outs: 3\n", "does not say what it tracks"),
    "no mapping": ("- 1\n", "does not say what it tracks"),
    "no YAML": ("{", "cannot be read as YAML"),
    "code": ("!!python/object/apply:os.system ['touch x']\n", "cannot be read as YAML"),
    "deep": ("a: " + "[" * 10_000, "cannot be read as YAML"),
    "circles": ("&a [*a]\n", "cannot be read as YAML"),
    "large": ("#" * 4_000_001, "has 4000001 bytes"),
}


@pytest.mark.parametrize(("text", "words"), OUTS.values(), ids=OUTS)
def test_a_file_of_dvc_that_says_more_than_paths_is_refused(tmp_path, text, words):
    refused(make(tmp_path / "registry", **{"train.dvc": text}), words)


def test_two_files_that_contradict_each_other_are_refused(tmp_path):
    refused(make(tmp_path / "registry", **{"t.dvc": TRAIN.replace("0", "1")}), "what another file contradicts")


def test_links_are_not_followed(tmp_path):
    (tmp_path / "outside").write_text(CONFIG)
    folder = make(tmp_path / "registry")
    (folder / ".dvc" / "config").unlink()
    (folder / ".dvc" / "config").symlink_to(tmp_path / "outside")
    git(folder, "commit", "-aqm", "link")
    refused(folder, "it has no .dvc/config", revision="main")


@pytest.mark.parametrize(
    "address",
    ["", "-u", "--upload-pack=touch x", "ext::sh -c 'touch x'", "fd::3", "nowhere", "/nowhere", "a\x1b[2Jb", "http://127.0.0.1:9/x",
     "ssh://-oProxyCommand=touch/x", "file:///nowhere", "http://[x", "ssh://me:secret@[x"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    refused(address, "is not a registry that can be opened")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("revision", ["v99", "--help", "", "main:train.dvc", "\x1b[2J", "x" * 5000])
def test_a_revision_that_is_none_is_refused(tmp_path, revision):
    refused(make(tmp_path / "registry"), "has no revision", revision=revision)


@pytest.mark.parametrize("path", ["", ".", "..", "../x", "a//b", "\x1b", "x" * 2000, "a\\b"])
def test_a_path_that_is_none_is_refused(tmp_path, path):
    with pytest.raises(InputError, match="is no path in a registry"):
        pull.fn(str(make(tmp_path / "registry")), "v1", path, tmp_path / "cache")


def test_no_command_of_a_registry_runs(tmp_path, s3, monkeypatch):
    """Whatever Git, DVC or boto3 would run of it: hooks, filters, a monitor, partial clones, what gives credentials."""
    canary = tmp_path / "canary"
    touch = f"touch {canary}"
    folder = make(
        tmp_path / "registry",
        **{".gitattributes": "* filter=evil\n", ".gitmodules": '[submodule "a"]\n\tpath = a\n\turl = ext::sh -c x\n'},
    )
    for name in ("core.fsmonitor", "core.sshCommand", "core.pager", "core.alternateRefsCommand", "uploadpack.packObjectsHook",
                 "filter.evil.smudge", "filter.evil.clean", "credential.helper", "core.hooksPath", "remote.origin.uploadpack"):  # fmt: skip
        git(folder, "config", name, f"!{touch}" if name == "credential.helper" else touch)
    git(folder, "config", "remote.origin.promisor", "true")
    git(folder, "config", "remote.origin.url", f"ext::sh -c '{touch}'")
    for hook in ("post-checkout", "pre-receive", "reference-transaction", "post-upload-pack"):
        path = folder / ".git" / "hooks" / hook
        path.write_text(f"#!/bin/sh\n{touch}\n")
        path.chmod(0o755)
    aws = folder / "aws.ini"
    aws.write_text(f"[default]\ncredential_process = {touch}\n")
    (folder / ".dvc" / "config.local").write_text(f"['remote \"s3\"']\n    configpath = {aws}\n    profile = default\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):  # so that boto3 would ask for some
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(InputError, match="There are no S3 credentials"):
        pull.fn(str(folder), "v1", "train", tmp_path / "cache")
    assert not canary.exists()


def put(key, content):
    client().put_object(Bucket="registry", Key=f"hostile/files/md5/{key[:2]}/{key[2:]}", Body=content)


LISTS = {
    "a path above": ([{"md5": MD5, "relpath": "../../escaped"}], "holds '../../escaped', which is no path in it"),
    "an absolute path": ([{"md5": MD5, "relpath": "/tmp/escaped"}], "which is no path in it"),
    "a zero byte": ([{"md5": MD5, "relpath": "a\0b"}], "which is no path in it"),
    "an escape": ([{"md5": MD5, "relpath": "a\x1b[2Jb"}], "which is no path in it"),
    "a long name": ([{"md5": MD5, "relpath": "a" * 300}], "which is no path in it"),
    "a name twice": ([{"md5": MD5, "relpath": "a"}] * 2, "names one twice"),
    "a file that is a folder": ([{"md5": MD5, "relpath": "a"}, {"md5": MD5, "relpath": "a/b"}], "is a file and a folder"),
    "an MD5 above": ([{"md5": "../../x", "relpath": "a"}], "gives no MD5 of 'a'"),
    "no list": ({"a": 1}, "is none of DVC's"),
    "numbers": ([{"md5": MD5, "relpath": 3}], "which is no path in it"),
    "a missing file": ([{"md5": MD5, "relpath": "a"}], "does not hold all of 'train'"),
}  # fmt: skip


@pytest.mark.parametrize(("entries", "words"), LISTS.values(), ids=LISTS)
def test_a_folder_that_lists_more_than_its_files_is_refused(tmp_path, s3, entries, words):
    content = json.dumps(entries).encode()
    md5 = hashlib.md5(content).hexdigest()
    put(f"{md5}.dir", content)
    folder = make(tmp_path / "registry", **{"train.dvc": TRAIN.replace(MD5, md5)})
    with pytest.raises(InputError, match=words):
        pull.fn(str(folder), "v1", "train", tmp_path / "cache")
    assert not (tmp_path / "escaped").exists()
    assert not (tmp_path / "cache" / "folders").exists()


def test_files_of_git_beside_those_of_dvc_are_refused(tmp_path, s3):
    folder = make(tmp_path / "registry", **{"train.dvc": "outs: []\n", "train/a.txt": ""})
    with pytest.raises(InputError, match=r"train/a\.txt in the registry .* is not under DVC"):
        pull.fn(str(folder), "v1", "train", tmp_path / "cache")


def test_a_registry_is_recorded_so_that_it_is_found_again_and_without_credentials(tmp_path, monkeypatch):
    (tmp_path / "registry").mkdir()
    monkeypatch.chdir(tmp_path)
    assert recorded("registry") == str(tmp_path / "registry")
    assert recorded("https://user:token@example.org/a.git?private_token=b#c") == "https://example.org/a.git"
    assert recorded("ssh://git:word@example.org:22/a.git") == "ssh://git@example.org:22/a.git"
    assert recorded("git@example.org:models/a.git") == "git@example.org:models/a.git"
    refused("http://user:token@127.0.0.1:9/x", r"^http://127\.0\.0\.1:9/x is not a registry(?!.*token)")
