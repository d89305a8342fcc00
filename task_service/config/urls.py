from django.urls import include, path

from chassis.openapi import pages
from chassis.ops import health, metrics
from notifications.health import CHECKS
from notifications.views import TAGS as NOTIFICATION_TAGS
from tasks.views import TAGS as TASK_TAGS

DOCUMENTATION = pages.Documentation("TMService: tasks", TASK_TAGS | NOTIFICATION_TAGS)

# Routes are tried in this order, so those of most requests come first.
urlpatterns = [
    path("", include("tasks.urls")),
    path("", include("notifications.urls")),
    *health.urls("task", checks=CHECKS),
    *metrics.urls(checks=CHECKS),
    *pages.urls("task", DOCUMENTATION),
]

handler400 = "chassis.api.problems.bad_request"
handler403 = "chassis.api.problems.permission_denied"
handler404 = "chassis.api.problems.not_found"
handler500 = "chassis.api.problems.server_error"
