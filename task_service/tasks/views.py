"""The endpoints of tasks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404, HttpResponseBase, StreamingHttpResponse
from drf_yasg.openapi import TYPE_FILE, Schema
from drf_yasg.openapi import Response as Described
from drf_yasg.utils import swagger_auto_schema
from rest_framework import status
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
from tasks.bulk import MAX_MATCHING, BulkSerializer, ChangedSerializer
from tasks.examples import COMPLETED_TASK
from tasks.filters import ExportFilter, TaskFilter
from tasks.models import Activity, KeptAnswer, StaleVersion, Task, TaskQuerySet, refuse_stale
from tasks.openapi import BulkInspector, CountProblemSerializer, SummarySerializer
from tasks.permissions import MovesOwnTask
from tasks.serializers import ActivitySerializer, TaskSerializer
from tasks.summary import summary

TAGS = {
    "Tasks": "What is to be done, by whom and until when.",
    "History": "What was changed, by whom and when.",
}
SEES = "An admin sees all tasks, anyone else those that are assigned to them."
ASSIGNEE_UNKNOWN = {503: "The database, or who knows the assignee, cannot be reached at the moment."}
COMPLETED = Described("The task as it is now.", TaskSerializer, examples={"application/json": COMPLETED_TASK})
ORDERINGS = ["due_date", "created_at", "updated_at", "completed_at", "priority", "id"]


class TaskEndpoint(Endpoint):
    tag = "Tasks"
    permission_classes = [IsAuthenticated & (ReadOnly | IsAdmin)]
    serializer_class: type[BaseSerializer[Any]] = TaskSerializer

    def get_queryset(self) -> QuerySet[Task]:
        tasks: TaskQuerySet = Task.objects.visible_to(self.caller).with_assignee()
        return tasks

    def answer(self, task: Task, **kwargs: Any) -> Response:
        data = self.get_serializer(task).data
        response = Response(data, **kwargs)
        response["ETag"] = etags.of_version(task.version, data)
        return response


class TaskList(ListModelMixin, TaskEndpoint):
    query_parameters = pagination.PARAMETERS
    filterset_class = TaskFilter
    repeatable_parameters = frozenset({"status", "priority", "assigned_to", "created_by"})
    ordering_fields = ORDERINGS
    default_ordering = "-created_at"
    ranks_search = True

    @swagger_auto_schema(operation_id="listTasks", operation_summary="List tasks", operation_description=SEES)
    def get(self, request: Request) -> Response:
        return self.list(request)

    @swagger_auto_schema(
        operation_id="createTask",
        operation_summary="Make a task",
        responses={201: "The new task."} | ASSIGNEE_UNKNOWN,
        headers=["Location", "ETag"],
        example={"title": "Call the landlord", "due_date": "2030-12-01", "assigned_to": 2},
    )
    @idempotent(KeptAnswer)
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        task = serializer.save()
        location = f"{settings.PUBLIC_URL}/task/tasks/{task.pk}/"
        return self.answer(task, status=status.HTTP_201_CREATED, headers={"Location": location})


class TaskSummary(TaskEndpoint):
    filterset_class = TaskFilter
    repeatable_parameters = TaskList.repeatable_parameters

    @swagger_auto_schema(
        operation_id="summarizeTasks",
        operation_summary="Count tasks",
        operation_description=f"{SEES} Of those, the ones that the filters let through.",
        responses={200: Described("The counts.", SummarySerializer)},
    )
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
    has_entity_tag = False  # it is streamed: what it holds is known when it has been sent

    @swagger_auto_schema(
        operation_id="exportTasks",
        operation_summary="Export tasks as CSV",
        operation_description=f"{SEES} All that the filters let through, in one file that is safe to open in a "
        "spreadsheet: docs/export.md says which cells get an apostrophe, and how to undo it.",
        produces=["text/csv"],
        responses={
            200: Described(
                "The file, with a line of headings (RFC 4180).",
                Schema(type=TYPE_FILE),
                {"text/csv": ",".join(export.COLUMNS) + "\r\n"},
            )
        },
        headers=["Content-Disposition"],
    )
    def get(self, request: Request) -> HttpResponseBase:
        _, order = pagination.order_of(request, self, Task)
        tasks = order.everything(self.filter_queryset(self.get_queryset()))
        separator = export.SEPARATORS[request.query_params.get("separator", "comma")]
        mark = export.BYTE_ORDER_MARK if is_true(request.query_params.get("bom", "")) else ""
        return StreamingHttpResponse(
            export.Begun(export.pieces(tasks, separator=separator, mark=mark)),
            content_type="text/csv; charset=utf-8; header=present",
            headers={"Content-Disposition": 'attachment; filename="tasks.csv"'},
        )


class BulkChange(TaskEndpoint):
    serializer_class = BulkSerializer

    @swagger_auto_schema(
        operation_id="changeTasks",
        operation_summary="Change or delete many tasks at once",
        operation_description="All tasks of `ids` get the values of `set` or are deleted (`delete`), or none. Instead "
        f"of `ids`, a `filter` may name up to {MAX_MATCHING} tasks to change, if there are `expected_count` of them. "
        "Without that number nothing is changed, and `actual_count` tells it.",
        field_inspectors=[BulkInspector],
        responses={
            200: Described(
                "With `ids`, the tasks as they are now, in that order; with `filter` or `delete`, their ids.",
                ChangedSerializer,
            ),
            400: Described("", CountProblemSerializer),
            409: Described(
                "Not as many tasks as expected match the filter; `actual_count` says how many do.",
                CountProblemSerializer,
            ),
            **ASSIGNEE_UNKNOWN,
        },
        example={"ids": [1], "set": {"status": "completed"}},
    )
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        tasks = serializer.save()
        if "delete" in serializer.validated_data:
            changed = {"deleted_ids": [task.pk for task in tasks]}
        elif "filter" in serializer.validated_data:
            changed = {"updated_ids": [task.pk for task in tasks]}
        else:
            changed = {"updated": tasks}
        return Response(ChangedSerializer(changed, context=self.get_serializer_context()).data)


class TaskDetail(TaskEndpoint):
    permission_classes = [IsAuthenticated & (AdminWritesOnceVisible | MovesOwnTask)]
    lookup_url_kwarg = "task_id"
    if_match_methods = frozenset({"PUT", "PATCH", "DELETE"})

    @swagger_auto_schema(operation_id="readTask", operation_summary="Read a task", operation_description=SEES)
    def get(self, request: Request, task_id: int) -> Response:
        return self.answer(self.get_object())

    @swagger_auto_schema(
        operation_id="replaceTask",
        operation_summary="Replace a task",
        operation_description="Fields that are not sent get their defaults.",
        responses={200: COMPLETED} | ASSIGNEE_UNKNOWN,
        example={"title": "Call the landlord", "status": "completed"},
    )
    def put(self, request: Request, task_id: int) -> Response:
        return self.change(partial=False)

    @swagger_auto_schema(
        operation_id="changeTask",
        operation_summary="Change a task",
        operation_description="Fields that are not sent stay as they are. Where ASSIGNEES_CAN_UPDATE_STATUS is set, an "
        "assignee may change the `status`, and that alone.",
        responses={200: COMPLETED} | ASSIGNEE_UNKNOWN,
        example={"status": "completed"},
    )
    def patch(self, request: Request, task_id: int) -> Response:
        return self.change(partial=True)

    @swagger_auto_schema(
        operation_id="deleteTask",
        operation_summary="Delete a task",
        responses={204: "It is deleted. Its history stays, for admins."},
    )
    def delete(self, request: Request, task_id: int) -> Response:
        self.get_object()
        with gone_or_stale():
            removed = Task.objects.filter(pk=task_id).remove(by_id=self.caller.id, versions=etags.if_match(request))
        if not removed:
            raise Http404
        return Response(status=status.HTTP_204_NO_CONTENT)

    def change(self, *, partial: bool) -> Response:
        task, versions = self.get_object(), etags.if_match(self.request)
        with gone_or_stale():
            refuse_stale(task, versions)  # before the body, whose read-only values may be those of then
        serializer = self.get_serializer(task, data=self.body, partial=partial)
        serializer.is_valid(raise_exception=True)
        with gone_or_stale():
            task = serializer.save(versions=versions)
        return self.answer(task)


class TaskActivity(TaskEndpoint):
    """The history of one task, for whoever sees the task; that of a deleted one, for admins."""

    tag = "History"
    serializer_class = ActivitySerializer
    query_parameters = pagination.PARAMETERS
    lookup_url_kwarg = "task_id"
    ordering_fields = ["id"]
    default_ordering = "-id"

    @swagger_auto_schema(
        operation_id="listActivity",
        operation_summary="Read the history of a task",
        operation_description="For whoever sees the task; the history of a deleted task is for admins.",
        responses={200: "A page of what was changed, newest first."},
    )
    def get(self, request: Request, task_id: int) -> Response:
        if not self.caller.is_admin:
            self.get_object()
        elif not Task.objects.existed(task_id):
            raise Http404
        page = self.paginate_queryset(Activity.objects.filter(task=task_id).select_related("by"))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


@contextmanager
def gone_or_stale() -> Iterator[None]:
    """Turn what may have become of a task since it was read into 404 or 412."""
    try:
        yield
    except Task.DoesNotExist as error:
        raise Http404 from error
    except StaleVersion as error:
        raise PreconditionFailed(changed_fields=error.changed_fields) from error
