"""Keywords of transformers' loaders that aren't settings.

``from_pretrained`` and ``save_pretrained`` take settings by any name, so their own keywords must be told apart, or
they would be kept as settings and saved again. Each is obeyed, makes no difference here, or is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..errors import InputError

PLACES = {  # where to find the files: transformers' name -> ``checkpoints.open_checkpoint``'s
    "subfolder": "subfolder", "variant": "variant", "revision": "revision", "cache_dir": "cache", "token": "token",
    "use_auth_token": "token", "local_files_only": "local_files_only", "force_download": "force_download",
}  # fmt: skip
IDLE = frozenset(  # all formats of weights are read alike, no code is ever loaded, there is one device
    {
        "use_safetensors", "weights_only", "from_pt", "trust_remote_code", "code_revision", "resume_download", "mirror",
        "low_cpu_mem_usage", "device_map", "max_memory", "offload_folder", "offload_buffers", "offload_state_dict",
        "attn_implementation", "experts_implementation", "use_flash_attention_2", "use_kernels", "kernel_config",
        "tp_plan", "tp_size", "device_mesh", "distributed_config", "use_fast", "backend", "adapter_name", "_fast_init",
        "_from_auto", "_from_pipeline", "_commit_hash", "_configuration_file", "_attn_implementation",
        "generation_config", "allow_all_kernels", "disable_mmap", "tqdm_class", "finetuning_task",
    }
)  # fmt: skip
_NO_QUANTIZING = "`python -m mobilevit_np weights quantize` makes int8 weights, which open like any others"
_NO_OTHER_WEIGHTS = "weights are read from safetensors and PyTorch's files"
REFUSED = {  # unless the value asks for nothing: the reason
    "quantization_config": _NO_QUANTIZING,
    "load_in_8bit": _NO_QUANTIZING,
    "load_in_4bit": _NO_QUANTIZING,
    "gguf_file": _NO_OTHER_WEIGHTS,
    "from_tf": _NO_OTHER_WEIGHTS,
    "from_flax": _NO_OTHER_WEIGHTS,
    "key_mapping": "names are recognized; rename others in a state_dict, and give that",
    "adapter_kwargs": "adapters aren't read; merge them into the weights first",
    "proxies": "the environment's HTTPS_PROXY is obeyed",
}
LOADING = PLACES.keys() | IDLE | REFUSED.keys()
SAVING = {  # save_pretrained's: the reason why it's refused, or None if it makes no difference
    "push_to_hub": "nothing is uploaded; `hf upload` does that",
    **dict.fromkeys(("max_shard_size", "save_function", "save_peft_format", "save_original_format", "use_diff"), None),
    **dict.fromkeys(("token", "use_auth_token", "commit_message", "repo_id", "private", "create_pr", "revision"), None),
}


def sorted_out(keywords: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(where to find the files, under ``open_checkpoint``'s names; the keywords that aren't a loader's).

    Raises InputError for what isn't done here.
    """
    for name in keywords.keys() & REFUSED.keys():
        _refuse("from_pretrained", name, keywords[name], REFUSED[name])
    places = {PLACES[name]: keywords[name] for name in PLACES if keywords.get(name) is not None}
    return places, {name: value for name, value in keywords.items() if name not in LOADING}


def check_saving(save_directory: Any, keywords: Mapping[str, Any]) -> None:
    """Raise InputError unless it's a path, and for a keyword that isn't ``save_pretrained``'s or isn't done here."""
    if not isinstance(save_directory, (str, os.PathLike)):
        raise InputError(f"save_directory must be the path of a folder, not {save_directory!r:.60}")
    for name, value in keywords.items():
        if name not in SAVING:
            raise InputError(f"save_pretrained takes no {name}; it takes {', '.join(SAVING)}")
        if (reason := SAVING[name]) is not None:
            _refuse("save_pretrained", name, value, reason)


def _refuse(method: str, name: str, value: Any, reason: str) -> None:
    if value is not None and value is not False and value != {}:
        raise InputError(f"{method} can't do {name}={value!r:.60}: {reason}")
