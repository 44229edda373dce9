"""Names that a registered model may have: told before hours go into what is to bear one."""

from __future__ import annotations

HISTORY_SUFFIX = ".history"
"""End of the name of a registered model that holds the history of another."""
# MLflow allows no path in a name, and a quote would end the name in a search.
_FORBIDDEN = "/:'"


def check_model_name(name: str) -> None:
    """Raise ValueError for a name that the registry would refuse once the model is trained."""
    found = [sign for sign in _FORBIDDEN if sign in name]
    if found:
        reason = f"and a name in the registry holds no {found[0]}"
    elif name.endswith(HISTORY_SUFFIX):
        reason = f"and {HISTORY_SUFFIX} ends the names of the histories of other models"
    elif name != name.strip() or name == "." or name.startswith(".."):
        reason = "which is no name but spaces or a path"
    else:
        return
    raise ValueError(f"register is {name!r}, {reason}; give a name such as landmarks")
