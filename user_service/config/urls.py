from django.urls import include, path

from accounts.health import CHECKS
from accounts.openapi import TAGS
from chassis.openapi import pages
from chassis.ops import health, metrics

DOCUMENTATION = pages.Documentation("TMService: accounts", TAGS)

urlpatterns = [
    *health.urls("user", checks=CHECKS),
    *metrics.urls(checks=CHECKS),
    *pages.urls("user", DOCUMENTATION),
    path("", include("accounts.urls")),
]

handler400 = "chassis.api.problems.bad_request"
handler403 = "chassis.api.problems.permission_denied"
handler404 = "chassis.api.problems.not_found"
handler500 = "chassis.api.problems.server_error"
