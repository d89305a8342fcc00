from django.urls import path

from accounts import internal, views
from chassis import paths

paths.register()

urlpatterns = [
    path("user/register/", views.Register.as_view()),
    path("user/users/", views.UserList.as_view()),
    path("user/users/<id:user_id>/", views.UserDetail.as_view()),
    path("token/", views.ObtainToken.as_view()),
    path("token/refresh/", views.RefreshToken.as_view()),
    path("internal/users/", internal.InternalUsers.as_view()),
]
