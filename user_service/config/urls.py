from django.urls import include, path

from accounts import openapi
from accounts.health import concerns, gauges
from chassis import health, metrics
from chassis.openapi import pages

DOCUMENTATION = pages.Documentation("TMService: accounts", [openapi.CHAPTER])

urlpatterns = [
    *health.urls("user", concerns=concerns),
    *metrics.urls(gauges),
    *pages.urls("user", DOCUMENTATION),
    path("", include("accounts.urls")),
]

handler400 = "chassis.problems.bad_request"
handler403 = "chassis.problems.permission_denied"
handler404 = "chassis.problems.not_found"
handler500 = "chassis.problems.server_error"
