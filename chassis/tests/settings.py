"""Minimal Django settings for the chassis, like those of a service."""

import os

from chassis import size_limits
from chassis.ops import settings as common

# scripts/test sets the URL of a temporary PostgreSQL; most tests need none.
os.environ.setdefault("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/never-connected-to")

SECRET_KEY = "only-for-tests-0123456789-abcdefghijklmn"
JWT_SIGNING_KEY = "signing-key-of-the-tests-0123456789-abcdef"
JWT_PREVIOUS_SIGNING_KEYS = ["previous-key-of-the-tests-0123456789-abcdef"]
JWT_PRIVATE_KEY = None
JWT_PUBLIC_KEYS: list[object] = []
PUBLIC_URL = "http://tm.test"
ALLOWED_HOSTS = ["testserver"]
USE_TZ = True
APPEND_SLASH = False
METRICS_TOKEN = ""
GATEWAY_ADDRESSES: list[object] = []
GATEWAY_SECRET = ""
CORS_ALLOWED_ORIGINS: list[str] = []
CORS_ALLOW_METHODS = common.CORS_ALLOW_METHODS
CORS_ALLOW_HEADERS = common.CORS_ALLOW_HEADERS
CORS_EXPOSE_HEADERS = common.CORS_EXPOSE_HEADERS
INSTALLED_APPS = [
    "rest_framework",
    "corsheaders",
    "chassis",
    "chassis.tests.outbox_app",
    "chassis.tests.idempotency_app",
]
DATABASES = {"default": common.database("DATABASE_URL")}
SERVICE = "chassis"
EMAIL_FILE_PATH = ""
MAILS_ARE_HELD = MIGRATE_ON_START = False
HEARTBEAT_PATH = ""
RUN_WORKER = "separate"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MIDDLEWARE = common.MIDDLEWARE
ROOT_URLCONF = "chassis.tests.urls"
DATA_UPLOAD_MAX_MEMORY_SIZE = size_limits.BODY_LIMIT_BYTES
REST_FRAMEWORK = common.rest_framework(authentication="chassis.auth.gate.BearerAuthentication")
