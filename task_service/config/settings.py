"""Settings of the task service. The environment is the only difference between places; see .env.example."""

from pathlib import Path

from chassis import size_limits
from chassis.openapi import settings as openapi
from chassis.ops import env, logs, settings

ROOT = Path(__file__).resolve().parents[2]
SERVICE = "task_service"
env.load_dotenv()

DEBUG = env.flag("DEBUG", False)
SECRET_KEY = env.secret("TASK_SECRET_KEY")
JWT_SIGNING_KEY, JWT_PREVIOUS_SIGNING_KEYS = settings.signing_keys(secret_key=SECRET_KEY)
JWT_PRIVATE_KEY, JWT_PUBLIC_KEYS = None, settings.public_keys()  # it signs no tokens of users
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
USER_SERVICE_URL = env.http_url("USER_SERVICE_URL")

INSTALLED_APPS = [
    "chassis",  # first: of two commands with the same name, the first app wins
    "django.contrib.postgres",  # GIN indexes
    "rest_framework",
    "corsheaders",
    "drf_yasg",
    "directory",
    "tasks",
    "notifications",
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

DATABASES = {"default": settings.database("DATABASE_URL", "TASK_DATABASE_URL")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = env.time_zone("TIME_ZONE", "UTC")  # defines "today"
DUE_SOON_DAYS = env.number("DUE_SOON_DAYS", 1, min_value=0, max_value=365)
REMIND_AT = env.time_of_day("REMIND_AT", "08:00")  # the worker plans reminders from this time of day on
ASSIGNEES_CAN_UPDATE_STATUS = env.flag("ASSIGNEES_CAN_UPDATE_STATUS", False)

NOTIFICATION_CHANNEL_CLASSES = {"log": "notifications.channels.log.Log", "email": "notifications.channels.email.Email"}
NOTIFICATION_CHANNELS = env.choices("NOTIFICATION_CHANNELS", "log", known=NOTIFICATION_CHANNEL_CLASSES)
NOTIFICATION_LOG = env.text("NOTIFICATION_LOG", "")
DEFAULT_FROM_EMAIL = settings.sender()
mail = settings.mail(ROOT)
EMAIL_BACKEND, EMAIL_FILE_PATH, MAILS_ARE_HELD = mail.backend, mail.folder, mail.is_held
EMAIL_HOST, EMAIL_PORT, EMAIL_TIMEOUT = mail.host, mail.port, mail.timeout_seconds
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = mail.user, mail.password
EMAIL_USE_TLS, EMAIL_USE_SSL = mail.use_tls, mail.use_ssl
MAIL_DOMAIN = settings.mail_domain(DEFAULT_FROM_EMAIL)
settings.warn_about_sender(MAIL_DOMAIN)

REST_FRAMEWORK = settings.rest_framework(authentication="directory.authentication.DirectoryAuthentication")
STATIC_URL = openapi.static_url("task")
TEMPLATES = openapi.TEMPLATES
WHITENOISE_AUTOREFRESH = WHITENOISE_USE_FINDERS = WHITENOISE_ALLOW_ALL_ORIGINS = False
WHITENOISE_MAX_AGE = openapi.MAX_AGE_SECONDS
SWAGGER_USE_COMPAT_RENDERERS = False
SWAGGER_SETTINGS = openapi.swagger_settings("task")
REDOC_SETTINGS = openapi.redoc_settings("task")
OPENAPI_DOCUMENTATION = "config.urls.DOCUMENTATION"
LOGGING = logs.logging_for(SERVICE, level=logs.level())
