"""The inbox of the caller, and the ledger of deliveries of a task."""

from django.db.models import QuerySet
from django.db.models.functions import Coalesce, Now
from django.http import Http404
from drf_yasg.openapi import Response as Described
from drf_yasg.utils import no_body, swagger_auto_schema
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from chassis.api import pagination
from chassis.api.views import Endpoint
from chassis.auth.permissions import IsAdmin, IsAuthenticated
from notifications.filters import InboxFilter
from notifications.models import Delivery, Notification
from notifications.serializers import DeliverySerializer, NotificationSerializer
from tasks.models import Task

TAGS = {"Notifications": "Notifications to users, and their deliveries."}
READ = NotificationSerializer.Meta.example | {"read_at": "2026-11-23T09:30:00.000000Z"}


class InboxEndpoint(Endpoint):
    tag = "Notifications"
    permission_classes = [IsAuthenticated]
    serializer_class = NotificationSerializer
    lookup_url_kwarg = "notification_id"

    def get_queryset(self) -> QuerySet[Notification]:
        notifications: QuerySet[Notification] = Notification.objects.visible_to(self.caller)
        return notifications.select_related("event__by")


class Inbox(ListModelMixin, InboxEndpoint):
    query_parameters = pagination.PARAMETERS
    filterset_class = InboxFilter
    ordering_fields = ["id"]
    default_ordering = "-id"

    @swagger_auto_schema(
        operation_id="listNotifications",
        operation_summary="Read your own inbox",
        operation_description="An admin sees all their own entries. Others see entries about tasks that they can see "
        "or could see until the tasks were deleted, and entries that say that a task was taken from them.",
        responses={200: "A page of notifications to the caller, newest first."},
    )
    def get(self, request: Request) -> Response:
        return self.list(request)


class MarkRead(InboxEndpoint):
    """Records when the entry was first read. Idempotent."""

    @swagger_auto_schema(
        operation_id="markNotificationRead",
        operation_summary="Mark a notification as read",
        operation_description="Records when the notification was first read. Repeating the request changes nothing.",
        request_body=no_body,
        responses={200: Described("The notification.", NotificationSerializer, examples={"application/json": READ})},
    )
    def post(self, request: Request, notification_id: int) -> Response:
        self.get_queryset().filter(pk=notification_id).update(read_at=Coalesce("read_at", Now()))
        return Response(self.get_serializer(self.get_object()).data)


class Ledger(Endpoint):
    tag = "Notifications"
    permission_classes = [IsAuthenticated & IsAdmin]
    serializer_class = DeliverySerializer
    query_parameters = pagination.PARAMETERS
    ordering_fields = ["id"]
    default_ordering = "-id"

    @swagger_auto_schema(
        operation_id="listDeliveries",
        operation_summary="List the deliveries of a task's notifications",
        responses={200: "A page of deliveries, newest first."},
    )
    def get(self, request: Request, task_id: int) -> Response:
        if not Task.objects.existed(task_id):
            raise Http404
        deliveries = Delivery.objects.filter(event__task_id=task_id).with_message_id()
        page = self.paginate_queryset(deliveries.select_related("event", "recipient"))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)
