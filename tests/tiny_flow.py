"""Flow-matching generators in their published layouts, tiny, with random weights.

Every trap of the real configurations is here: latents that are scaled and shifted, encoders of
different widths, a second CLIP that pads with another token, packed latents, the batch-norm
statistics of FLUX.2's VAE, chat templates that differ with thinking.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from tokenizers import pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from synthbridge.upstream.tokenizer import train_tokenizer

WORDS = ("a", "photo", "of", "cat", "dog", "sea", "lion", "my", "the", "in", "style", "snow", ".")
CORPUS = [f"a photo of a {name} in the snow style . my" for name in ("cat", "dog", "sea lion")] * 2

# What Qwen3's own template does with one message of a user: an empty thought where none is wanted.
CHAT_TEMPLATE = (
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n"
    "{% endif %}{% endif %}"
)


def shake(model: Any) -> Any:
    """Move every parameter off zeros and ones, so that none can be left out unseen."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model.eval()


def clip_tokenizer(folder: Path, pad: str | None = None) -> CLIPTokenizer:
    """Make CLIP's tokenizer; the second encoders of SD 3 and SDXL pad with `!`."""
    tokenizer = train_tokenizer(CORPUS, folder)
    if pad is not None:
        tokenizer.pad_token = pad
    return tokenizer


def _clip_config(tokenizer: CLIPTokenizer, width: int, projection: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width,
        projection_dim=projection,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def t5_tokenizer() -> T5Tokenizer:
    """Make T5's tokenizer: whole words, and letters for the rest."""
    letters = [chr(code) for code in range(33, 127)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(f"▁{word}", -3.0) for word in WORDS]
    return T5Tokenizer(vocab=[*pieces, *((letter, -9.0) for letter in letters)], extra_ids=2)


def t5_encoder(tokenizer: T5Tokenizer, width: int) -> T5EncoderModel:
    """Make T5's encoder, gated as version 1.1."""
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=width,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        relative_attention_num_buckets=8,
    )
    return shake(T5EncoderModel(config))


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Make Qwen's tokenizer: bytes, its chat tokens and a chat template."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {"<|endoftext|>": 0, **{letter: place for place, letter in enumerate(letters, 1)}}
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=[], eos_token="<|im_end|>")
    tokenizer.add_tokens(["<|im_start|>", "<think>", "</think>"], special_tokens=True)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _qwen_config(tokenizer: Qwen2Tokenizer, num_layers: int) -> Qwen3Config:
    return Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=num_layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        tie_word_embeddings=True,
        max_position_embeddings=512,
    )


def _vae() -> AutoencoderKL:
    torch.manual_seed(1)
    return shake(
        AutoencoderKL(
            block_out_channels=(8, 16, 16),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=16,
            norm_num_groups=4,
            sample_size=16,
            scaling_factor=0.3611,
            shift_factor=0.1159,
            use_quant_conv=False,
            use_post_quant_conv=False,
        )
    )


def save_sd3(folder: Path, *, has_t5: bool = True, **scheduler: Any) -> Path:
    """Save a Stable Diffusion 3.5 medium, with or without its T5."""
    torch.manual_seed(0)
    first = clip_tokenizer(folder / "first")
    second = clip_tokenizer(folder / "second", pad="!")
    t5 = t5_tokenizer() if has_t5 else None
    transformer = SD3Transformer2DModel(
        sample_size=4,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=64,
        caption_projection_dim=32,
        pooled_projection_dim=20 + 28,
        pos_embed_max_size=6,
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
    )
    pipeline = StableDiffusion3Pipeline(
        transformer=shake(transformer),
        scheduler=FlowMatchEulerDiscreteScheduler(**{"shift": 3.0, **scheduler}),
        vae=_vae(),
        text_encoder=shake(CLIPTextModelWithProjection(_clip_config(first, 16, 20))),
        tokenizer=first,
        text_encoder_2=shake(CLIPTextModelWithProjection(_clip_config(second, 24, 28))),
        tokenizer_2=second,
        text_encoder_3=t5_encoder(t5, 64) if t5 else None,
        tokenizer_3=t5,
    )
    return _save(pipeline, folder)


def save_flux(folder: Path, *, guidance_embeds: bool = False, **scheduler: Any) -> Path:
    """Save a FLUX.1: schnell, or dev with `guidance_embeds`."""
    torch.manual_seed(0)
    clip, t5 = clip_tokenizer(folder / "clip"), t5_tokenizer()
    transformer = FluxTransformer2DModel(
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 6, 6),
    )
    pipeline = FluxPipeline(
        transformer=shake(transformer),
        scheduler=FlowMatchEulerDiscreteScheduler(**scheduler),
        vae=_vae(),
        text_encoder=shake(CLIPTextModel(_clip_config(clip, 16, 16))),
        tokenizer=clip,
        text_encoder_2=t5_encoder(t5, 32),
        tokenizer_2=t5,
    )
    return _save(pipeline, folder)


def save_flux2(folder: Path, *, is_distilled: bool) -> Path:
    """Save a FLUX.2 klein: the distilled one or its base."""
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer()
    transformer = Flux2Transformer2DModel(
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * 16,
        guidance_embeds=False,
        axes_dims_rope=(4, 4, 4, 4),
    )
    vae = AutoencoderKLFlux2(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=16,
        norm_num_groups=4,
        sample_size=16,
    )
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2.0)
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, shift=3.0, time_shift_type="exponential"
    )
    pipeline = Flux2KleinPipeline(
        scheduler=scheduler,
        vae=shake(vae),
        text_encoder=shake(Qwen3ForCausalLM(_qwen_config(tokenizer, 28))),
        tokenizer=tokenizer,
        transformer=shake(transformer),
        is_distilled=is_distilled,
    )
    return _save(pipeline, folder)


def save_z_image(folder: Path, **scheduler: Any) -> Path:
    """Save a Z-Image-Turbo, or its base with another shift."""
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer()
    transformer = ZImageTransformer2DModel(
        in_channels=16,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[4, 6, 6],
        axes_lens=[512, 32, 32],
    )
    pipeline = ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**{"shift": 3.0, **scheduler}),
        vae=_vae(),
        text_encoder=shake(Qwen3Model(_qwen_config(tokenizer, 3))),
        tokenizer=tokenizer,
        transformer=shake(transformer),
    )
    return _save(pipeline, folder)


# What each of them is called here, and what saves it below a folder.
SAVED: dict[str, Callable[[Path], Path]] = {
    "sd3": save_sd3,
    "schnell": save_flux,
    "klein": partial(save_flux2, is_distilled=True),
    "klein-base": partial(save_flux2, is_distilled=False),
    "z-image-turbo": save_z_image,
    "z-image": partial(save_z_image, shift=6.0),
}


def _save(pipeline: Any, folder: Path) -> Path:
    pipeline.save_pretrained(folder / "generator")
    return folder / "generator"
