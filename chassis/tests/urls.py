"""Endpoints for tests over HTTP."""

from django.urls import path
from rest_framework.response import Response

from chassis.api import pagination, paths
from chassis.api.idempotency import idempotent
from chassis.api.views import Endpoint
from chassis.auth.gate import ServiceAuthentication
from chassis.auth.permissions import IsService
from chassis.tests.idempotency_app.models import IdempotencyRecord, Note

paths.register()


class Echo(Endpoint):
    permission_classes = []
    query_parameters = frozenset({"status", "search"}) | pagination.PARAMETERS
    repeatable_parameters = frozenset({"status"})

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


class Notes(Endpoint):
    """Creates a note once per Idempotency-Key."""

    before_answering = staticmethod(lambda: None)
    status, size = 201, 0.1

    @idempotent(IdempotencyRecord)
    def post(self, request):
        note = Note.objects.create(text=self.body["text"])
        self.before_answering()
        headers = {"Location": f"/notes/{note.pk}/", "ETag": f'"{note.pk}"', "X-Note": str(note.pk)}
        return Response({"text": note.text, "id": note.pk, "size": self.size}, status=self.status, headers=headers)

    put = post


class OpenNotes(Notes):
    permission_classes = []


urlpatterns = [
    path("echo/", Echo.as_view()),
    path("who-am-i/", WhoAmI.as_view()),
    path("internal/", Internal.as_view()),
    path("rows/<id:row_id>/", Row.as_view(), name="row"),
    path("broken/", Broken.as_view()),
    path("notes/", Notes.as_view()),
    path("more-notes/", Notes.as_view()),
    path("open-notes/", OpenNotes.as_view()),
]

handler400 = "chassis.api.problems.bad_request"
handler403 = "chassis.api.problems.permission_denied"
handler404 = "chassis.api.problems.not_found"
handler500 = "chassis.api.problems.server_error"
