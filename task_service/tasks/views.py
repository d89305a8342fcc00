"""The endpoints of tasks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import orjson
from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404, HttpResponseBase, StreamingHttpResponse
from drf_yasg.openapi import TYPE_FILE, Schema
from drf_yasg.openapi import Response as Described
from drf_yasg.utils import swagger_auto_schema
from rest_framework import status
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from chassis.api import etags, pagination
from chassis.api.filters import is_true, valid_filters
from chassis.api.idempotency import idempotent
from chassis.api.problems import PreconditionFailed
from chassis.api.strict_json import RenderedJSON
from chassis.api.views import Endpoint
from chassis.auth.permissions import AdminWritesOnceVisible, IsAdmin, IsAuthenticated, ReadOnly
from tasks import export, stamps
from tasks.bulk import MAX_MATCHING, BulkSerializer, ChangedSerializer
from tasks.examples import COMPLETED_TASK
from tasks.filters import ExportFilter, TaskFilter
from tasks.models import Activity, IdempotencyRecord, StaleVersion, Task, TaskQuerySet
from tasks.openapi import BulkInspector, CountProblemSerializer, SummarySerializer
from tasks.pages import read_filtered_page, read_page
from tasks.permissions import MovesOwnTask
from tasks.reading import find_with_accounts
from tasks.row_json import find, with_json
from tasks.search_page import read_search_page
from tasks.serializers import ActivitySerializer, TaskSerializer
from tasks.summary import summary, summary_of_visible

TAGS = {
    "Tasks": "Tasks, their assignees and due dates.",
    "History": "The changes of each task: who changed what, and when.",
}
VISIBILITY = "An admin sees all tasks. Others see the tasks that are assigned to them."
ASSIGNEE_UNKNOWN = {503: "The database or the user service, which knows the assignee, cannot be reached at the moment."}
COMPLETED = Described("The task as it is now.", TaskSerializer, examples={"application/json": COMPLETED_TASK})
SEARCH = pagination.PARAMETERS | {"search"}
ORDERINGS = ["due_date", "created_at", "updated_at", "completed_at", "priority", "id"]


class TaskEndpoint(Endpoint):
    tag = "Tasks"
    permission_classes = [IsAuthenticated & (ReadOnly | IsAdmin)]
    serializer_class: type[BaseSerializer[Any]] = TaskSerializer
    state = ""  # see stamps.answer_unchanged

    def get_queryset(self) -> QuerySet[Task]:
        tasks: TaskQuerySet = Task.objects.visible_to(self.caller).with_assignee()
        return tasks

    def answer(self, version: int, representation: Any, **kwargs: Any) -> Response:
        response = Response(representation, **kwargs)
        response["ETag"] = etags.version_etag(version, orjson.dumps(representation))
        return response

    def stamped(self, representation: Any, state: str) -> RenderedJSON:
        """Return a response whose tag has the stamp of the state, if there is one."""
        content = orjson.dumps(representation)
        stamp = stamps.stamp(state, self.request, self.caller) if state else ""
        return RenderedJSON(content, etag=etags.weak_etag(content, stamp))


class TaskList(TaskEndpoint):
    query_parameters = pagination.PARAMETERS
    filterset_class = TaskFilter
    repeatable_parameters = frozenset({"status", "priority", "assigned_to", "created_by"})
    ordering_fields = ORDERINGS
    default_ordering = "-created_at"
    ranks_search = True

    @swagger_auto_schema(operation_id="listTasks", operation_summary="List tasks", operation_description=VISIBILITY)
    @stamps.answer_unchanged
    def get(self, request: Request) -> RenderedJSON:
        self.pages.choose_page(request, self, Task)
        page = self.pages.take(self.rows())
        results = self.pages.page([orjson.Fragment(task.json) for task in page])
        return self.stamped(results, self.state or (page[0].state if page else ""))

    @property
    def pages(self) -> pagination.KeysetPagination:
        return cast("pagination.KeysetPagination", self.paginator)

    def rows(self) -> list[Any]:
        """Return the rows of the page, read with compiled queries for the most frequent forms of the request."""
        pages, names = self.pages, self.request.query_params.keys()
        if names <= pagination.PARAMETERS:
            return read_page(self.caller, pages.order, pages.size + 1, pages.position, backwards=pages.backwards)
        is_search = names <= SEARCH and pages.position is None and isinstance(pages.order, pagination.RankedOrder)
        text = valid_filters(self.request, Task.objects.all(), self)["search"] if is_search else None
        if text:
            return read_search_page(self.caller, text, pages.order, pages.size + 1)
        if pages.position is None and stamps.can_have_stamp(self.request):
            return read_filtered_page(self.caller, pages.order, self.filters(), self.narrow)
        tasks = with_json(Task.objects.visible_to(self.caller).only(*ORDERINGS))
        return pages.fetch(self.filter_queryset(tasks))

    def narrow(self, tasks: TaskQuerySet) -> TaskQuerySet:
        return self.pages.narrow(self.filter_queryset(tasks))

    def filters(self) -> Any:
        """Return all parameters, and the caller if one of them may be "me"."""
        given = tuple((name, *values) for name, values in self.request.query_params.lists())
        return given, self.caller.id if any("me" in values for values in given) else None

    @swagger_auto_schema(
        operation_id="createTask",
        operation_summary="Create a task",
        responses={201: "The new task."} | ASSIGNEE_UNKNOWN,
        headers=["Location", "ETag"],
        example={"title": "Call the landlord", "due_date": "2030-12-01", "assigned_to": 2},
    )
    @idempotent(IdempotencyRecord)
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        task = serializer.save()
        location = f"{settings.PUBLIC_URL}/task/tasks/{task.pk}/"
        return self.answer(
            task.version, serializer.data, status=status.HTTP_201_CREATED, headers={"Location": location}
        )


class TaskSummary(TaskEndpoint):
    filterset_class = TaskFilter
    repeatable_parameters = TaskList.repeatable_parameters

    @swagger_auto_schema(
        operation_id="summarizeTasks",
        operation_summary="Count tasks",
        operation_description=f"{VISIBILITY} The filters narrow them down.",
        responses={200: Described("The counts.", SummarySerializer)},
    )
    @stamps.answer_unchanged
    def get(self, request: Request) -> RenderedJSON:
        return self.stamped(*self.counts())

    def counts(self) -> tuple[dict[str, Any], str]:
        if not self.request.query_params:
            return summary_of_visible(self.caller)
        tasks: Any = self.filter_queryset(Task.objects.visible_to(self.caller))
        return summary(tasks, self.request.query_params.keys())


class TaskExport(TaskEndpoint):
    query_parameters = frozenset({"ordering"})
    filterset_class = ExportFilter
    repeatable_parameters = TaskList.repeatable_parameters
    ordering_fields = ORDERINGS
    default_ordering = TaskList.default_ordering
    ranks_search = True
    has_entity_tag = False  # it is streamed, so the content is unknown when the headers are sent

    @swagger_auto_schema(
        operation_id="exportTasks",
        operation_summary="Export tasks as CSV",
        operation_description=f"{VISIBILITY} The file has all tasks that match the filters, and is safe to open in a "
        "spreadsheet: docs/export.md says which cells get an apostrophe and how to remove it.",
        produces=["text/csv"],
        responses={
            200: Described(
                "The file, with a header line (RFC 4180).",
                Schema(type=TYPE_FILE),
                {"text/csv": ",".join(export.COLUMNS) + "\r\n"},
            ),
            503: f"The service is unavailable at the moment, or another export of more than {export.ROWS_PER_CHUNK} "
            "tasks is running.",
        },
        headers=["Content-Disposition"],
    )
    def get(self, request: Request) -> HttpResponseBase:
        _, order = pagination.resolve_order(request, self, Task)
        tasks = order.sort(self.filter_queryset(export.with_cells(Task.objects.visible_to(self.caller))))
        separator = export.SEPARATORS[request.query_params.get("separator", "comma")]
        mark = export.BYTE_ORDER_MARK if is_true(request.query_params.get("bom", "")) else ""
        file = export.PrimedStream(export.chunks(tasks, separator=separator, mark=mark))
        if request.method == "HEAD":
            file.close()
        return StreamingHttpResponse(
            file,
            content_type="text/csv; charset=utf-8; header=present",
            headers={"Content-Disposition": 'attachment; filename="tasks.csv"'},
        )


class BulkChange(TaskEndpoint):
    serializer_class = BulkSerializer

    @swagger_auto_schema(
        operation_id="changeTasks",
        operation_summary="Change or delete many tasks at once",
        operation_description="Sets the values of `set` in all tasks of `ids`, or deletes them (`delete`). If one "
        f"fails, none is changed. Instead of `ids`, a `filter` can choose up to {MAX_MATCHING} tasks to change, if it "
        "matches exactly `expected_count` tasks. Without `expected_count`, nothing is changed and the error has the "
        "`actual_count`.",
        field_inspectors=[BulkInspector],
        responses={
            200: Described(
                "With `ids`, the changed tasks in that order; with `filter` or `delete`, their ids.",
                ChangedSerializer,
            ),
            400: Described("", CountProblemSerializer),
            409: Described(
                "The filter does not match `expected_count` tasks; `actual_count` says how many it matches.",
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

    @swagger_auto_schema(operation_id="readTask", operation_summary="Read a task", operation_description=VISIBILITY)
    def get(self, request: Request, task_id: int) -> RenderedJSON:
        found = find(task_id, self.caller)
        if found is None:
            raise Http404
        version, json = found
        content = json.encode()
        return RenderedJSON(content, etag=etags.version_etag(version, content))

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
        operation_description="Fields that are not sent stay unchanged. With ASSIGNEES_CAN_UPDATE_STATUS, an assignee "
        "may change the `status`, but no other field.",
        responses={200: COMPLETED} | ASSIGNEE_UNKNOWN,
        example={"status": "completed"},
    )
    def patch(self, request: Request, task_id: int) -> Response:
        return self.change(partial=True)

    @swagger_auto_schema(
        operation_id="deleteTask",
        operation_summary="Delete a task",
        responses={204: "The task is deleted. Admins can still read its history."},
    )
    def delete(self, request: Request, task_id: int) -> Response:
        task = get_object_or_404(self.get_queryset(), pk=task_id)
        self.check_object_permissions(request, task)
        with as_http_errors():
            removed = Task.objects.filter(pk=task.pk).remove(by_id=self.caller.id, versions=etags.if_match(request))
        if not removed:
            raise Http404
        return Response(status=status.HTTP_204_NO_CONTENT)

    def change(self, *, partial: bool) -> Response:
        task, versions = self.task_to_change(), etags.if_match(self.request)
        with as_http_errors():
            task.check_version(versions)  # before the body, whose read-only values may come from an older version
        serializer = self.get_serializer(task, data=self.body, partial=partial)
        serializer.is_valid(raise_exception=True)
        with as_http_errors():
            task = serializer.save(versions=versions)
        return self.answer(task.version, serializer.data)

    def task_to_change(self) -> Task:
        task = find_with_accounts(self.kwargs["task_id"], self.caller)
        if task is None:
            raise Http404
        self.check_object_permissions(self.request, task)
        return task


class TaskActivity(TaskEndpoint):
    """The history of one task, for callers who can see the task; of a deleted one, for admins."""

    tag = "History"
    serializer_class = ActivitySerializer
    query_parameters = pagination.PARAMETERS
    lookup_url_kwarg = "task_id"
    ordering_fields = ["id"]
    default_ordering = "-id"

    @swagger_auto_schema(
        operation_id="listActivity",
        operation_summary="Read the history of a task",
        operation_description="For callers who can see the task. The history of a deleted task is for admins.",
        responses={200: "A page of changes, newest first."},
    )
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
