"""Signing up and in."""

from accounts import serializers, token_serializers
from accounts.openapi.samples import ALICE, MAIL_TOKEN, PASSWORD, TOKEN
from accounts.openapi.schemas import KEY_SET, NOTHING, PAIR, PUBLIC_JWK
from accounts.openapi.texts import LOCKED, SIGNING_IN, TAKEN
from accounts.views import emails, passwords, signing_in
from chassis.openapi.operations import Answer, Body, Call, Operation

SIGNING_IN_OPERATIONS: dict[Call, Operation] = {
    (signing_in.Register, "post"): Operation(
        id="register",
        tag=SIGNING_IN,
        summary="Sign up",
        description="Makes an account of role `user`. Only admins may ask for another role, and only they "
        "make accounts where `REGISTRATION=invite` is set.",
        body=Body(
            serializers.RegistrationSerializer,
            {"username": "alice", "email": "alice@example.com", "password": PASSWORD},
        ),
        answer=Answer(serializers.UserSerializer, ALICE, status=201, description="The new account."),
        refusals={403: "Only an admin can make an admin, or any account (`registration_closed`).", 409: TAKEN},
    ),
    (signing_in.ObtainToken, "post"): Operation(
        id="signIn",
        tag=SIGNING_IN,
        summary="Sign in",
        description="Opens a session. Paste `access` into *Authorize*.",
        body=Body(token_serializers.CredentialsSerializer, {"username": "alice", "password": PASSWORD}),
        answer=Answer(PAIR, {"access": TOKEN, "refresh": TOKEN}, description="The tokens of the session."),
        refusals={401: "No active account has this name and password.", 429: LOCKED},
    ),
    (signing_in.RefreshToken, "post"): Operation(
        id="refreshTokens",
        tag=SIGNING_IN,
        summary="Get the next pair of tokens",
        description="A refresh token is good once: who uses it again, other than to repeat a lost answer within ten "
        "seconds, ends the session. With a good token it counts as a request of the account, else of the address.",
        body=Body(token_serializers.RefreshSerializer, {"refresh": TOKEN}),
        answer=Answer(PAIR, {"access": TOKEN, "refresh": TOKEN}, description="The next tokens of the session."),
        refusals={401: "The refresh token is not good, or not any more."},
    ),
    (signing_in.VerifyToken, "post"): Operation(
        id="verifyToken",
        tag=SIGNING_IN,
        summary="Ask whether a token is good",
        description="Takes access and refresh tokens.",
        body=Body(token_serializers.TokenSerializer, {"token": TOKEN}),
        answer=Answer(NOTHING, {}, description="It is good at this moment."),
        refusals={401: "The token is not good, or not any more."},
    ),
    (signing_in.KeySet, "get"): Operation(
        id="readKeySet",
        tag=SIGNING_IN,
        summary="Read the public keys that verify tokens",
        description="A JSON Web Key Set (RFC 7517), good for five minutes; empty while a shared key signs.",
        answer=Answer(KEY_SET, {"keys": [PUBLIC_JWK]}, description="The keys.", headers=("Cache-Control",)),
    ),
    (signing_in.Logout, "post"): Operation(
        id="signOut",
        tag=SIGNING_IN,
        summary="Sign out",
        description="Ends the session of a refresh token. To do so twice does no harm. With a token of a session that "
        "lives it counts as a request of the account, else of the address.",
        body=Body(token_serializers.RefreshSerializer, {"refresh": TOKEN}),
        answer=Answer(status=204, description="The session has ended."),
        refusals={401: "It is no refresh token, or an expired one."},
    ),
    (signing_in.LogoutAll, "post"): Operation(
        id="signOutEverywhere",
        tag=SIGNING_IN,
        summary="Sign out everywhere",
        description="Ends all sessions of the caller, and every token made before.",
        answer=Answer(status=204, description="All sessions have ended."),
        refusals={404: "The account was deleted meanwhile."},
    ),
    (passwords.RequestReset, "post"): Operation(
        id="requestPasswordReset",
        tag=SIGNING_IN,
        summary="Have a mail sent for a forgotten password",
        description="The answer is the same whether anybody has the address or not.",
        body=Body(serializers.EmailSerializer, {"email": "alice@example.com"}),
        answer=Answer(status=202, description="If there is such an account, a mail is on its way."),
    ),
    (emails.ConfirmEmail, "post"): Operation(
        id="confirmEmail",
        tag=SIGNING_IN,
        summary="Confirm an address by a token from a mail",
        description="Confirms the address of a new account, or makes a pending address the account's.",
        body=Body(serializers.EmailTokenSerializer, {"token": MAIL_TOKEN}),
        answer=Answer(status=204, description="The address is confirmed."),
        refusals={409: "Another account has this email by now."},
    ),
    (passwords.ConfirmReset, "post"): Operation(
        id="confirmPasswordReset",
        tag=SIGNING_IN,
        summary="Set a password by a token from a mail",
        description="Ends every session of the account.",
        body=Body(serializers.ConfirmSerializer, {"token": MAIL_TOKEN, "new_password": "nine purple umbrellas"}),
        answer=Answer(status=204, description="The password is set."),
    ),
}
