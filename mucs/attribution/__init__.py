"""MUCS: mirrored unlearning and noise-consistent skew (Serrà et al., arXiv 2605.17938).

Needs torch, diffusers, numpy and safetensors, and nothing else.
"""

from mucs.attribution.attribute import Attribution, Screening, attribute
from mucs.attribution.bank import NoiseBank
from mucs.attribution.losses import LossTable, denoising_losses
from mucs.attribution.model import DiffusionModel
from mucs.attribution.skew import look_alike_p_values, noise_consistent_skew, skew_standard_error
from mucs.attribution.unlearning import Unlearned, Unlearning, estimate_null_loss, mirrored_unlearning

__all__ = [
    "Attribution",
    "DiffusionModel",
    "LossTable",
    "NoiseBank",
    "Screening",
    "Unlearned",
    "Unlearning",
    "attribute",
    "denoising_losses",
    "estimate_null_loss",
    "look_alike_p_values",
    "mirrored_unlearning",
    "noise_consistent_skew",
    "skew_standard_error",
]
