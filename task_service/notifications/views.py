"""The inbox of the caller, and the ledger of deliveries of a task."""

from django.db.models import QuerySet
from django.db.models.functions import Coalesce, Now
from django.http import Http404
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


class InboxEndpoint(Endpoint):
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

    def get(self, request: Request) -> Response:
        return self.list(request)


class MarkRead(InboxEndpoint):
    """Records when the entry was first read. Idempotent."""

    def post(self, request: Request, notification_id: int) -> Response:
        self.get_queryset().filter(pk=notification_id).update(read_at=Coalesce("read_at", Now()))
        return Response(self.get_serializer(self.get_object()).data)


class Ledger(Endpoint):
    permission_classes = [IsAuthenticated & IsAdmin]
    serializer_class = DeliverySerializer
    query_parameters = pagination.PARAMETERS
    ordering_fields = ["id"]
    default_ordering = "-id"

    def get(self, request: Request, task_id: int) -> Response:
        if not Task.objects.existed(task_id):
            raise Http404
        deliveries = Delivery.objects.filter(event__task_id=task_id).with_message_id()
        page = self.paginate_queryset(deliveries.select_related("event", "recipient"))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)
