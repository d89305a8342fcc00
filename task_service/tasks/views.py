"""The endpoints of tasks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404, HttpResponseBase, StreamingHttpResponse
from rest_framework import status
from rest_framework.generics import get_object_or_404
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from chassis.api import etags, pagination
from chassis.api.filters import is_true
from chassis.api.idempotency import idempotent
from chassis.api.problems import PreconditionFailed
from chassis.api.views import Endpoint
from chassis.auth.permissions import AdminWritesOnceVisible, IsAdmin, IsAuthenticated, ReadOnly
from tasks import export
from tasks.bulk import BulkSerializer
from tasks.filters import ExportFilter, TaskFilter
from tasks.models import Activity, IdempotencyRecord, StaleVersion, Task, TaskQuerySet
from tasks.permissions import MovesOwnTask
from tasks.serializers import ActivitySerializer, TaskSerializer
from tasks.summary import summary

ORDERINGS = ["due_date", "created_at", "updated_at", "completed_at", "priority", "id"]


class TaskEndpoint(Endpoint):
    permission_classes = [IsAuthenticated & (ReadOnly | IsAdmin)]
    serializer_class: type[BaseSerializer[Any]] = TaskSerializer

    def get_queryset(self) -> QuerySet[Task]:
        tasks: TaskQuerySet = Task.objects.visible_to(self.caller).with_assignee()
        return tasks

    def answer(self, task: Task, **kwargs: Any) -> Response:
        data = self.get_serializer(task).data
        response = Response(data, **kwargs)
        response["ETag"] = etags.version_etag(task.version, data)
        return response


class TaskList(ListModelMixin, TaskEndpoint):
    query_parameters = pagination.PARAMETERS
    filterset_class = TaskFilter
    repeatable_parameters = frozenset({"status", "priority", "assigned_to", "created_by"})
    ordering_fields = ORDERINGS
    default_ordering = "-created_at"
    ranks_search = True

    def get(self, request: Request) -> Response:
        return self.list(request)

    @idempotent(IdempotencyRecord)
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        task = serializer.save()
        location = f"{settings.PUBLIC_URL}/task/tasks/{task.pk}/"
        return self.answer(task, status=status.HTTP_201_CREATED, headers={"Location": location})


class TaskSummary(TaskEndpoint):
    filterset_class = TaskFilter
    repeatable_parameters = TaskList.repeatable_parameters

    def get(self, request: Request) -> Response:
        tasks: Any = self.filter_queryset(Task.objects.visible_to(self.caller))
        return Response(summary(tasks))


class TaskExport(TaskEndpoint):
    query_parameters = frozenset({"ordering"})
    filterset_class = ExportFilter
    repeatable_parameters = TaskList.repeatable_parameters
    ordering_fields = ORDERINGS
    default_ordering = TaskList.default_ordering
    ranks_search = True
    has_entity_tag = False  # it is streamed: its content is known only after it was sent

    def get(self, request: Request) -> HttpResponseBase:
        _, order = pagination.order_of(request, self, Task)
        tasks = order.everything(self.filter_queryset(self.get_queryset()))
        separator = export.SEPARATORS[request.query_params.get("separator", "comma")]
        mark = export.BYTE_ORDER_MARK if is_true(request.query_params.get("bom", "")) else ""
        return StreamingHttpResponse(
            export.PrimedStream(export.chunks(tasks, separator=separator, mark=mark)),
            content_type="text/csv; charset=utf-8; header=present",
            headers={"Content-Disposition": 'attachment; filename="tasks.csv"'},
        )


class BulkChange(TaskEndpoint):
    serializer_class = BulkSerializer

    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        tasks = serializer.save()
        ids = [task.pk for task in tasks]
        if "delete" in serializer.validated_data:
            return Response({"deleted_ids": ids})
        if "filter" in serializer.validated_data:
            return Response({"updated_ids": ids})
        context = self.get_serializer_context()
        return Response({"updated": TaskSerializer(tasks, many=True, context=context).data})


class TaskDetail(TaskEndpoint):
    permission_classes = [IsAuthenticated & (AdminWritesOnceVisible | MovesOwnTask)]
    lookup_url_kwarg = "task_id"
    if_match_methods = frozenset({"PUT", "PATCH", "DELETE"})

    def get(self, request: Request, task_id: int) -> Response:
        return self.answer(self.get_object())

    def put(self, request: Request, task_id: int) -> Response:
        return self.change(partial=False)

    def patch(self, request: Request, task_id: int) -> Response:
        return self.change(partial=True)

    def delete(self, request: Request, task_id: int) -> Response:
        task = get_object_or_404(self.get_queryset(), pk=task_id)
        self.check_object_permissions(request, task)
        with as_http_errors():
            removed = Task.objects.filter(pk=task.pk).remove(by_id=self.caller.id, versions=etags.if_match(request))
        if not removed:
            raise Http404
        return Response(status=status.HTTP_204_NO_CONTENT)

    def change(self, *, partial: bool) -> Response:
        task, versions = self.get_object(), etags.if_match(self.request)
        with as_http_errors():
            task.check_version(versions)  # before the body: its read-only values may be those of an older version
        serializer = self.get_serializer(task, data=self.body, partial=partial)
        serializer.is_valid(raise_exception=True)
        with as_http_errors():
            task = serializer.save(versions=versions)
        return self.answer(task)


class TaskActivity(TaskEndpoint):
    """The history of one task, for callers who can see the task; of a deleted one, for admins."""

    serializer_class = ActivitySerializer
    query_parameters = pagination.PARAMETERS
    lookup_url_kwarg = "task_id"
    ordering_fields = ["id"]
    default_ordering = "-id"

    def get(self, request: Request, task_id: int) -> Response:
        if not self.caller.is_admin:
            self.get_object()
        elif not Task.objects.existed(task_id):
            raise Http404
        page = self.paginate_queryset(Activity.objects.filter(task=task_id).select_related("by"))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


@contextmanager
def as_http_errors() -> Iterator[None]:
    """Turn a concurrent deletion into 404 and a concurrent change into 412."""
    try:
        yield
    except Task.DoesNotExist as error:
        raise Http404 from error
    except StaleVersion as error:
        raise PreconditionFailed(changed_fields=error.changed_fields) from error
