"""The settings of the document's pages, taken by name from each service's settings file."""

from pathlib import Path
from typing import Any

FILES = "chassis.openapi.files.PageFilesMiddleware"
TEMPLATES = Path(__file__).parent / "templates"


def pages(prefix: str) -> dict[str, Any]:
    """Return what Django, drf-yasg and WhiteNoise read. All that a page loads lies below the service's own prefix."""
    document = f"/{prefix}/swagger.json"
    return {
        "STATIC_URL": f"/{prefix}/static/",
        "WHITENOISE_AUTOREFRESH": False,
        "WHITENOISE_USE_FINDERS": False,
        "WHITENOISE_MAX_AGE": 3600,
        "WHITENOISE_ALLOW_ALL_ORIGINS": False,
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [TEMPLATES],
                "APP_DIRS": True,
            }
        ],
        "SWAGGER_USE_COMPAT_RENDERERS": False,
        "SWAGGER_SETTINGS": {
            "SPEC_URL": document,
            "USE_SESSION_AUTH": False,
            "VALIDATOR_URL": None,  # else the page would send the document's address to swagger.io
            "FETCH_SCHEMA_WITH_QUERY": False,
            "REFETCH_SCHEMA_WITH_AUTH": False,
            "SHOW_COMMON_EXTENSIONS": True,  # the bounds of parameters
            "DISPLAY_OPERATION_ID": False,
            "DEFAULT_MODEL_RENDERING": "example",
            "DEFAULT_MODEL_DEPTH": 1,
        },
        "REDOC_SETTINGS": {"SPEC_URL": document, "FETCH_SCHEMA_WITH_QUERY": False},
    }
