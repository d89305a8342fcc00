from django.urls import path

from accounts import internal
from accounts.views import audit, emails, me, passwords, sessions, signing_in, users
from chassis.api import paths

paths.register()

urlpatterns = [
    path("user/register/", signing_in.Register.as_view()),
    path("user/me/", me.Me.as_view()),
    path("user/me/email-confirmation/", me.ResendConfirmation.as_view()),
    path("user/email/confirm/", emails.ConfirmEmail.as_view()),
    path("user/me/password/", me.ChangePassword.as_view()),
    path("user/me/sessions/", me.OwnSessions.as_view()),
    path("user/me/sessions/<id:session_id>/", me.OwnSession.as_view()),
    path("user/password-reset/", passwords.RequestReset.as_view()),
    path("user/password-reset/confirm/", passwords.ConfirmReset.as_view()),
    path("user/audit/", audit.AuditTrail.as_view()),
    path("user/users/", users.UserList.as_view()),
    path("user/users/<id:user_id>/", users.UserDetail.as_view()),
    path("user/users/<id:user_id>/invitation/", passwords.SendInvitation.as_view()),
    path("user/users/<id:user_id>/password-reset/", passwords.SendReset.as_view()),
    path("user/users/<id:user_id>/sessions/", sessions.UserSessions.as_view()),
    path("user/users/<id:user_id>/sessions/<id:session_id>/", sessions.UserSession.as_view()),
    path("token/", signing_in.ObtainToken.as_view()),
    path("token/refresh/", signing_in.RefreshToken.as_view()),
    path("token/verify/", signing_in.VerifyToken.as_view()),
    path("token/jwks/", signing_in.KeySet.as_view()),
    path("token/logout/", signing_in.Logout.as_view()),
    path("token/logout-all/", signing_in.LogoutAll.as_view()),
    path("internal/users/", internal.InternalUsers.as_view()),
    path("internal/users/changes/", internal.InternalChanges.as_view()),
]
