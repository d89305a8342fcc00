"""Settings of the user service, from the environment; see .env.example."""

from datetime import timedelta
from pathlib import Path

from chassis import size_limits
from chassis.auth import tokens
from chassis.openapi import settings as openapi
from chassis.ops import env, logs, settings

SERVICE = "user_service"
ROOT = Path(__file__).resolve().parents[2]
env.load_dotenv()

DEBUG = env.flag("DEBUG", False)
SECRET_KEY = env.secret("USER_SECRET_KEY")
JWT_SIGNING_KEY, JWT_PREVIOUS_SIGNING_KEYS = settings.signing_keys(secret_key=SECRET_KEY)
JWT_PRIVATE_KEY, JWT_PUBLIC_KEYS = settings.key_pair(signing_key=JWT_SIGNING_KEY, previous=JWT_PREVIOUS_SIGNING_KEYS)
ALLOWED_HOSTS = env.allowed_hosts(debug=DEBUG)
PUBLIC_URL = settings.public_url()
LOCAL_URL = settings.local_url()
METRICS_TOKEN = env.optional_secret("METRICS_TOKEN")

GATEWAY_ADDRESSES = env.networks("GATEWAY_ADDRESSES")
GATEWAY_SECRET = env.optional_secret("GATEWAY_SECRET")
CORS_ALLOWED_ORIGINS = env.origins("CORS_ALLOWED_ORIGINS")
CORS_ALLOW_METHODS = settings.CORS_ALLOW_METHODS
CORS_ALLOW_HEADERS = settings.CORS_ALLOW_HEADERS
CORS_EXPOSE_HEADERS = settings.CORS_EXPOSE_HEADERS

INSTALLED_APPS = [
    "accounts",  # first: its management commands override those of later apps
    "chassis",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "rest_framework",
    "corsheaders",
    "drf_yasg",
]
MIDDLEWARE = [*settings.MIDDLEWARE, openapi.FILES]
SILENCED_SYSTEM_CHECKS = settings.SILENCED_SYSTEM_CHECKS
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
WORKER_JOBS = "config.worker.jobs"
RUN_WORKER = settings.run_worker()
HEARTBEAT_PATH = env.text("HEARTBEAT_PATH", "")
MIGRATE_ON_START = env.flag("MIGRATE_ON_START", False)
APPEND_SLASH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = size_limits.BODY_LIMIT_BYTES

DATABASES = {"default": settings.database("DATABASE_URL", "USER_DATABASE_URL")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

AUTH_USER_MODEL = "accounts.User"
PASSWORD_HASHERS = ["accounts.hashers.SmallArgon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": name}
    for name in (
        "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "django.contrib.auth.password_validation.MinimumLengthValidator",
        "accounts.passwords.ListedPasswordValidator",
        "django.contrib.auth.password_validation.NumericPasswordValidator",
        "accounts.passwords.VisiblePasswordValidator",
        "accounts.passwords.RepetitionValidator",
        "accounts.passwords.ServiceNameValidator",
    )
]
DEFAULT_FROM_EMAIL = settings.sender()
mail = settings.mail(ROOT)
EMAIL_BACKEND, EMAIL_FILE_PATH, MAILS_ARE_HELD = mail.backend, mail.folder, mail.is_held
EMAIL_HOST, EMAIL_PORT, EMAIL_TIMEOUT = mail.host, mail.port, mail.timeout_seconds
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = mail.user, mail.password
EMAIL_USE_TLS, EMAIL_USE_SSL = mail.use_tls, mail.use_ssl
MAIL_DOMAIN = settings.mail_domain(DEFAULT_FROM_EMAIL)
settings.warn_about_sender(MAIL_DOMAIN)
PASSWORD_URL, CONFIRM_EMAIL_URL = env.token_url("PASSWORD_URL"), env.token_url("CONFIRM_EMAIL_URL")

REST_FRAMEWORK = settings.rest_framework(authentication="accounts.authentication.AccountAuthentication")
REGISTRATION = env.choice("REGISTRATION", "open", known=("open", "invite"))
SESSION_MAX_DAYS = env.number("SESSION_MAX_DAYS", 30, min_value=1, max_value=365)
# chassis.auth.tokens signs and verifies, so simplejwt needs no key, algorithm, issuer or audience.
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(seconds=tokens.LIFETIME_SECONDS["access"]),
    "REFRESH_TOKEN_LIFETIME": timedelta(seconds=tokens.LIFETIME_SECONDS["refresh"]),
    "TOKEN_OBTAIN_SERIALIZER": "accounts.token_serializers.CredentialsSerializer",
    "TOKEN_REFRESH_SERIALIZER": "accounts.token_serializers.RefreshSerializer",
    "TOKEN_VERIFY_SERIALIZER": "accounts.token_serializers.TokenSerializer",
    "TOKEN_BLACKLIST_SERIALIZER": "accounts.token_serializers.SignOutSerializer",
}
STATIC_URL = openapi.static_url("user")
TEMPLATES = openapi.TEMPLATES
WHITENOISE_AUTOREFRESH = WHITENOISE_USE_FINDERS = WHITENOISE_ALLOW_ALL_ORIGINS = False
WHITENOISE_MAX_AGE = openapi.MAX_AGE_SECONDS
SWAGGER_USE_COMPAT_RENDERERS = False
SWAGGER_SETTINGS = openapi.swagger_settings("user")
REDOC_SETTINGS = openapi.redoc_settings("user")
OPENAPI_DOCUMENTATION = "config.urls.DOCUMENTATION"
LOGGING = logs.logging_for(SERVICE, level=logs.level())
