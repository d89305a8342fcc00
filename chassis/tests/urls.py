"""A few endpoints, so that tests can go through the front door."""

from django.urls import path
from rest_framework.response import Response

from chassis import paths
from chassis.authentication import ServiceAuthentication
from chassis.permissions import IsService
from chassis.views import Endpoint

paths.register()


class Echo(Endpoint):
    permission_classes = []
    query_parameters = frozenset({"status", "search"})
    repeatable_parameters = frozenset({"status"})
    ordering_fields = ["id"]

    def get(self, request):
        return Response(dict(request.query_params.lists()))

    def post(self, request):
        return Response({"received": self.body})


class WhoAmI(Endpoint):
    def get(self, request):
        return Response({"id": self.caller.id, "username": self.caller.username})


class Internal(Endpoint):
    authentication_classes = [ServiceAuthentication]
    permission_classes = [IsService]

    def get(self, request):
        return Response({"service": request.user.name})


class Row(Endpoint):
    permission_classes = []

    def get(self, request, row_id):
        return Response({"id": row_id})


class Broken(Endpoint):
    permission_classes = []

    def get(self, request):
        raise RuntimeError("the secret plan failed")


urlpatterns = [
    path("echo/", Echo.as_view()),
    path("who-am-i/", WhoAmI.as_view()),
    path("internal/", Internal.as_view()),
    path("rows/<id:row_id>/", Row.as_view(), name="row"),
    path("broken/", Broken.as_view()),
]

handler400 = "chassis.problems.bad_request"
handler403 = "chassis.problems.permission_denied"
handler404 = "chassis.problems.not_found"
handler500 = "chassis.problems.server_error"
