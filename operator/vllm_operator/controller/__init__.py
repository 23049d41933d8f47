"""Effects: watching, reconciling, writing.

Of the client only `kubernetes.aio` is used. It lies in a package whose `__init__` loads the synchronous
client too, with requests and oauthlib; so does kopf, where it finds that client, to recognise its objects and
to log in, of which we do neither. Without it an operator is 7.5 MB smaller.
"""

import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec


def _leave_out_synchronous_client() -> None:
    found = PathFinder.find_spec("kubernetes")
    if found is None or "kubernetes" in sys.modules:
        return
    bare = ModuleSpec("kubernetes", None, is_package=True)
    bare.submodule_search_locations = found.submodule_search_locations
    sys.modules["kubernetes"] = module_from_spec(bare)
    sys.modules["kubernetes.client"] = None  # type: ignore[assignment]  # so kopf goes on without it


_leave_out_synchronous_client()
