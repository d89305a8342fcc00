import os

from chassis.ops import wsgi

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = wsgi.application()
