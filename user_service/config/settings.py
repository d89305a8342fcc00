"""Settings of the user service. The environment is the only difference between places; see .env.example."""

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
vars().update(settings.cors())

INSTALLED_APPS = [
    "accounts",  # first, since of two commands with one name the first app's counts
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
vars().update(env.email("EMAIL_URL", folder=env.text("MAIL_FOLDER", str(ROOT / "var" / "mail"))))
MAIL_DOMAIN = settings.mail_domain(DEFAULT_FROM_EMAIL)
settings.warn_of_sample_sender(MAIL_DOMAIN)
PASSWORD_URL, CONFIRM_EMAIL_URL = env.token_url("PASSWORD_URL"), env.token_url("CONFIRM_EMAIL_URL")

REST_FRAMEWORK = settings.rest_framework(authentication="accounts.authentication.AccountAuthentication")
REGISTRATION = env.choice("REGISTRATION", "open", known=("open", "invite"))
SESSION_MAX_DAYS = env.number("SESSION_MAX_DAYS", 30, smallest=1, largest=365)
# chassis.auth.tokens signs and verifies, so simplejwt needs no key, algorithm, issuer or audience.
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(seconds=tokens.LIFETIME_SECONDS["access"]),
    "REFRESH_TOKEN_LIFETIME": timedelta(seconds=tokens.LIFETIME_SECONDS["refresh"]),
    "TOKEN_OBTAIN_SERIALIZER": "accounts.token_serializers.CredentialsSerializer",
    "TOKEN_REFRESH_SERIALIZER": "accounts.token_serializers.RefreshSerializer",
    "TOKEN_VERIFY_SERIALIZER": "accounts.token_serializers.TokenSerializer",
    "TOKEN_BLACKLIST_SERIALIZER": "accounts.token_serializers.SignOutSerializer",
}
vars().update(openapi.pages("user"))
LOGGING = logs.logging_for(SERVICE, level=env.text("LOG_LEVEL", "INFO"))
