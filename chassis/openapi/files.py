"""The static files of the pages: some of drf-yasg's and our own. No others are served."""

from pathlib import Path
from typing import Any

import drf_yasg
from whitenoise.middleware import WhiteNoiseMiddleware

YASG_STATIC = Path(drf_yasg.__file__).parent / "static" / "drf-yasg"
OWN_STATIC = Path(__file__).parent / "static"
NAMES = (
    "style.css",
    "immutable.min.js",
    "swagger-ui-init.js",
    "swagger-ui-dist/favicon-32x32.png",
    "swagger-ui-dist/swagger-ui.css",
    "swagger-ui-dist/swagger-ui-bundle.js",
    "swagger-ui-dist/swagger-ui-standalone-preset.js",
    "redoc-init.js",
    "redoc/redoc-logo.png",
    "redoc/redoc.min.js",
)


class PageFilesMiddleware(WhiteNoiseMiddleware):
    """Serves these files before any view."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in NAMES:
            self.add_file_to_dictionary(f"{self.static_prefix}drf-yasg/{name}", str(YASG_STATIC / name))
        for path in OWN_STATIC.iterdir():
            self.add_file_to_dictionary(f"{self.static_prefix}tmservice/{path.name}", str(path))
