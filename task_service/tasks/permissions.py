"""Who may, where the roles alone do not say it."""

from typing import Any

from django.conf import settings
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView


class MovesOwnTask(BasePermission):
    """With ASSIGNEES_CAN_UPDATE_STATUS, a PATCH of the status alone, by whoever sees the task."""

    def has_object_permission(self, request: Request, view: APIView, obj: Any) -> bool:
        return (
            settings.ASSIGNEES_CAN_UPDATE_STATUS
            and request.method == "PATCH"
            and isinstance(request.data, dict)
            and request.data.keys() == {"status"}
        )
