from django.urls import include, path

from chassis import health, metrics
from directory.health import gauges as directory_gauges
from notifications.health import concerns, gauges

urlpatterns = [
    *health.urls("task", concerns=concerns),
    *metrics.urls(gauges, directory_gauges),
    path("", include("tasks.urls")),
    path("", include("notifications.urls")),
]

handler400 = "chassis.problems.bad_request"
handler403 = "chassis.problems.permission_denied"
handler404 = "chassis.problems.not_found"
handler500 = "chassis.problems.server_error"
