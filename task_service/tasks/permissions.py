"""Permissions that depend on more than the role."""

from typing import Any

from django.conf import settings
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView


class MovesOwnTask(BasePermission):
    """With ASSIGNEES_CAN_UPDATE_STATUS, callers who can see a task may PATCH its status and nothing else."""

    def has_object_permission(self, request: Request, view: APIView, obj: Any) -> bool:
        if not (settings.ASSIGNEES_CAN_UPDATE_STATUS and request.method == "PATCH" and isinstance(request.data, dict)):
            return False
        if "status" in request.data and len(request.data) > 1:
            raise PermissionDenied("You may change only the status of this task; send `status` alone.")
        return "status" in request.data
