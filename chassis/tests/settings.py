"""Just enough of Django for the chassis alone."""

SECRET_KEY = "only-for-tests-0123456789-abcdefghijklmn"
JWT_SIGNING_KEY = "signing-key-of-the-tests-0123456789-abcdef"
JWT_PREVIOUS_SIGNING_KEYS = ["previous-key-of-the-tests-0123456789-abcdef"]
PUBLIC_URL = "http://tm.test"
USE_TZ = True
REST_FRAMEWORK = {"UNAUTHENTICATED_USER": None}
INSTALLED_APPS = ["rest_framework"]
