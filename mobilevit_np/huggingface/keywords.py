"""Keywords of transformers' loaders that are no settings.

``from_pretrained`` takes settings by any name, so a loader's own keywords must be told apart: otherwise they would be
kept as settings, and saved again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError

IGNORED = frozenset({"use_fast", "trust_remote_code"})  # there is one processor, and no code is ever loaded
REFUSED = frozenset(
    {
        "force_download", "local_files_only", "proxies", "resume_download", "return_unused_kwargs", "subfolder",
        "token", "use_auth_token",
    }
)  # fmt: skip


def settings_only(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """``keywords`` without those that change nothing here. Raises InputError for those that would and can't be had."""
    if refused := sorted(REFUSED & keywords.keys()):
        raise InputError(
            f"from_pretrained takes no {', '.join(refused)}; of the hub it takes revision and cache_dir, and the "
            "environment's HF_HUB_OFFLINE and HF_TOKEN"
        )
    return {name: value for name, value in keywords.items() if name not in IGNORED}
