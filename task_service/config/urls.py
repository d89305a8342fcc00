from django.urls import include, path

from chassis import health

urlpatterns = [
    *health.urls("task"),
    path("", include("tasks.urls")),
]

handler400 = "chassis.problems.bad_request"
handler403 = "chassis.problems.permission_denied"
handler404 = "chassis.problems.not_found"
handler500 = "chassis.problems.server_error"
