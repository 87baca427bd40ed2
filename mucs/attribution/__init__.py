"""MUCS: mirrored unlearning and noise-consistent skew (Serrà et al., arXiv 2605.17938).

Needs torch, diffusers, numpy and safetensors, and nothing else; checkpoints with text encoders need transformers,
and LoRA adapters need peft.
"""

from mucs.attribution.attribute import Attribution, attribute
from mucs.attribution.bank import NoiseBank
from mucs.attribution.calibration import Calibration, calibrate
from mucs.attribution.controls import Controls, controls
from mucs.attribution.encode import Encoding, encode
from mucs.attribution.groups import GroupAttribution, attribute_groups
from mucs.attribution.hyperparameters import Unlearning
from mucs.attribution.items import Items
from mucs.attribution.losses import LossStore, Scoring, denoising_losses
from mucs.attribution.model import DiffusionModel
from mucs.attribution.null_loss import NullLoss, null_loss_by_level, zero_output_null_loss
from mucs.attribution.replay import replay_verdict
from mucs.attribution.screening import Screening, recall
from mucs.attribution.settings import Settings
from mucs.attribution.skew import noise_consistent_skew
from mucs.attribution.unlearning import Unlearned, mirrored_unlearning
from mucs.attribution.weighting import weighed_by_null_loss

__all__ = [
    "Attribution",
    "Calibration",
    "Controls",
    "DiffusionModel",
    "Encoding",
    "GroupAttribution",
    "Items",
    "LossStore",
    "NoiseBank",
    "NullLoss",
    "Scoring",
    "Screening",
    "Settings",
    "Unlearned",
    "Unlearning",
    "attribute",
    "attribute_groups",
    "calibrate",
    "controls",
    "denoising_losses",
    "encode",
    "mirrored_unlearning",
    "noise_consistent_skew",
    "null_loss_by_level",
    "recall",
    "replay_verdict",
    "weighed_by_null_loss",
    "zero_output_null_loss",
]
