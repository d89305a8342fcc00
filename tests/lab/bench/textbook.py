"""What scripts/bench compares with: an empty Django view, an empty DRF view, and the usual stack in one file.

The usual stack is a ModelViewSet with simplejwt, django-filter and numbered pages, on the tasks of the task service. It
has no rate limits, no history, no entity tags and no search; its database connections are kept. It has the middlewares
of `startproject`, the empty views have none.
"""

import os
import sys
from typing import Any

import environ
from django.conf import settings

USUAL_MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
settings.configure(
    SECRET_KEY=os.environ["BENCH_KEY"],
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DATABASES={"default": environ.Env.db_url_config(os.environ["BENCH_DATABASE_URL"]) | {"CONN_MAX_AGE": None}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        *(f"django.contrib.{name}" for name in ("auth", "contenttypes", "sessions", "messages")),
        *("rest_framework", "django_filters"),
    ],
    MIDDLEWARE=[],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    },
)

import django  # noqa: E402  # the settings must come first

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import models  # noqa: E402
from django.db.models import Count, Q  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.utils import timezone  # noqa: E402
from rest_framework import serializers, viewsets  # noqa: E402
from rest_framework.decorators import action  # noqa: E402
from rest_framework.pagination import PageNumberPagination  # noqa: E402
from rest_framework.permissions import AllowAny  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.routers import DefaultRouter  # noqa: E402
from rest_framework.views import APIView  # noqa: E402


class Task(models.Model):
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True, default="")
    status = models.CharField(max_length=11, default="todo")
    priority = models.PositiveSmallIntegerField(default=2)
    due_date = models.DateField(null=True)
    assigned_to = models.BigIntegerField(null=True)
    created_by = models.BigIntegerField()
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    completed_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=1)
    search_rules = models.PositiveSmallIntegerField(default=1)  # so that the worker does not index the task meanwhile

    class Meta:
        app_label = "textbook"
        db_table = "tasks_task"
        managed = False

    def __str__(self) -> str:
        return self.title


class TaskSerializer(serializers.ModelSerializer[Task]):
    class Meta:
        model = Task
        exclude = ("search_rules",)
        read_only_fields = ("created_by", "created_at", "updated_at", "completed_at", "version")


class Pages(PageNumberPagination):
    page_size = 20
    page_size_query_param = "page_size"


class TaskViewSet(viewsets.ModelViewSet[Task]):
    serializer_class = TaskSerializer
    pagination_class = Pages
    filterset_fields = ("status", "priority", "assigned_to", "created_by", "due_date")

    def get_queryset(self) -> "models.QuerySet[Task]":
        tasks = Task._default_manager.order_by("-created_at", "-id")
        user: Any = self.request.user
        return tasks if user.is_staff else tasks.filter(assigned_to=user.id)

    def perform_create(self, serializer: Any) -> None:
        serializer.save(created_by=self.request.user.id)

    def perform_update(self, serializer: Any) -> None:
        completed_at = timezone.now() if serializer.validated_data.get("status") == "completed" else None
        serializer.save(updated_at=timezone.now(), completed_at=completed_at)

    @action(detail=False)
    def summary(self, request: Request) -> Response:
        is_open, today = ~Q(status="completed"), timezone.localdate()
        counts = {name: Count("id", filter=Q(status=name)) for name in ("todo", "in_progress", "completed")}
        counts["overdue"] = Count("id", filter=is_open & Q(due_date__lt=today))
        counts["unassigned"] = Count("id", filter=Q(assigned_to=None))
        tasks = self.filter_queryset(self.get_queryset()).order_by()
        return Response(tasks.aggregate(total=Count("id"), **counts))


class EmptyAPIView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get(self, request: Request) -> Response:
        return Response({})


def empty(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"{}", content_type="application/json")


router = DefaultRouter()
router.register("tasks", TaskViewSet, basename="task")
urlpatterns = [path("empty/", empty), path("empty-drf/", EmptyAPIView.as_view()), path("task/", include(router.urls))]
plain = WSGIHandler()  # a handler reads the setting when it is made
settings.MIDDLEWARE = USUAL_MIDDLEWARE
usual = WSGIHandler()


def application(environ: dict[str, Any], start_response: Any) -> Any:
    handler = usual if environ["PATH_INFO"].startswith("/task/") else plain
    return handler(environ, start_response)


if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    for name, user_id in (argument.split("=") for argument in sys.argv[1:]):
        User.objects.create(id=user_id, username=name, is_staff=name == "admin")
