import os

from chassis import wsgi

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = wsgi.application()
