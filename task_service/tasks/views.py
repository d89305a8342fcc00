"""The endpoints of tasks."""

from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404
from rest_framework import status
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from chassis.permissions import AdminWritesOnceVisible, IsAdmin, IsAuthenticated, ReadOnly
from chassis.views import Endpoint
from tasks.filters import TaskFilter
from tasks.models import Task
from tasks.serializers import TaskSerializer


class TaskEndpoint(Endpoint):
    serializer_class = TaskSerializer

    def get_queryset(self) -> QuerySet[Task]:
        return Task.objects.visible_to(self.caller)


class TaskList(ListModelMixin, TaskEndpoint):
    permission_classes = [IsAuthenticated & (ReadOnly | IsAdmin)]
    filterset_class = TaskFilter
    repeatable_parameters = frozenset({"status", "priority"})
    ordering_fields = ["due_date", "created_at", "updated_at", "priority", "id"]
    default_ordering = "-created_at"

    def get(self, request: Request) -> Response:
        return self.list(request)

    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        task = serializer.save(created_by=self.caller.id)
        location = f"{settings.PUBLIC_URL}/task/tasks/{task.pk}/"
        return Response(serializer.data, status=status.HTTP_201_CREATED, headers={"Location": location})


class TaskDetail(TaskEndpoint):
    permission_classes = [IsAuthenticated & AdminWritesOnceVisible]
    lookup_url_kwarg = "task_id"

    def get(self, request: Request, task_id: int) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    def put(self, request: Request, task_id: int) -> Response:
        return self.change(self.body, partial=False)

    def patch(self, request: Request, task_id: int) -> Response:
        return self.change(self.body, partial=True)

    def delete(self, request: Request, task_id: int) -> Response:
        deleted, _ = self.get_object().delete()
        if not deleted:  # somebody else was faster
            raise Http404
        return Response(status=status.HTTP_204_NO_CONTENT)

    def change(self, data: Any, *, partial: bool) -> Response:
        serializer = self.get_serializer(self.get_object(), data=data, partial=partial)
        serializer.is_valid(raise_exception=True)
        try:
            serializer.save()
        except Task.DoesNotExist as error:  # deleted since it was read
            raise Http404 from error
        return Response(serializer.data)
