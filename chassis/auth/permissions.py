"""Permissions that combine to the rules of the specification, such as IsAuthenticated & (ReadOnly | IsAdmin)."""

from typing import TYPE_CHECKING, Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from chassis.auth.tokens import Caller, ServiceCaller

if TYPE_CHECKING:  # DRF's settings import this module while rest_framework.views is still being imported
    from rest_framework.views import APIView


class IsAuthenticated(BasePermission):
    def has_permission(self, request: Request, view: "APIView") -> bool:
        return isinstance(request.user, Caller)


class IsService(BasePermission):
    def has_permission(self, request: Request, view: "APIView") -> bool:
        return isinstance(request.user, ServiceCaller)


class IsAdmin(BasePermission):
    def has_permission(self, request: Request, view: "APIView") -> bool:
        return isinstance(request.user, Caller) and request.user.is_admin


class ReadOnly(BasePermission):
    def has_permission(self, request: Request, view: "APIView") -> bool:
        return request.method in SAFE_METHODS


class AdminWritesOnceVisible(BasePermission):
    """Only admins write. Checked on the object, so that a PUT to a row the caller may not see is a 404 too."""

    def has_object_permission(self, request: Request, view: "APIView", obj: Any) -> bool:
        return bool((ReadOnly | IsAdmin)().has_permission(request, view))
