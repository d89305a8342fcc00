"""How the fields of accounts are described, and shapes that no serializer has."""

from typing import Any

from django.contrib.auth.password_validation import MinimumLengthValidator
from rest_framework.serializers import JSONField, SerializerMethodField

from accounts.names import USERNAME
from accounts.serializers import EmailField, NewPasswordField, PersonField, UsernameField
from chassis.addresses import ADDRESS
from chassis.api.fields import SecretField, SingleLineField
from chassis.openapi.operations import Shape
from chassis.openapi.schemas import person, schema_of

PAIR = Shape(
    "Tokens",
    {
        "access": {"type": "string", "description": "For the header `Authorization`; good for five minutes."},
        "refresh": {"type": "string", "description": "For the next pair; good once, for seven days at most."},
    },
)
NOTHING = Shape("Nothing", {})
KEY_SET = Shape(
    "KeySet",
    {
        "keys": {
            "type": "array",
            "description": "One JSON Web Key for each key that signs people's tokens, has signed or will.",
            "items": {"type": "object"},
        }
    },
)
PUBLIC_JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "Wz2vTq0m1cZ8yK5hL9dR3uN7eXbJ4sGfQaPiOoYt6Ek",
    "alg": "EdDSA",
    "kid": "b9Qm0VtXl3cSg7ZkYw2nRj5uHf8eTa1iPd6oCr4xLvM",
    "use": "sig",
}


@schema_of.register(EmailField)
def _(field: EmailField) -> dict[str, Any]:
    # Whitespace around it is cut off.
    pattern = f"^ *{ADDRESS.pattern} *$"
    description = "A domain in other letters than ASCII is taken too, and stored as xn--..."
    return {
        **schema_of.dispatch(SingleLineField)(field),
        "format": "email",
        "pattern": pattern,
        "description": description,
    }


@schema_of.register(UsernameField)
def _(field: UsernameField) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^ *{USERNAME.pattern} *$"}  # blanks around it are cut off


@schema_of.register(NewPasswordField)
def _(field: NewPasswordField) -> dict[str, Any]:
    return {**schema_of.dispatch(SecretField)(field), "minLength": MinimumLengthValidator().min_length}


@schema_of.register(SerializerMethodField)
def _(field: SerializerMethodField) -> dict[str, Any]:
    """Describe the `current` of a session, which is the only one."""
    return {"type": "boolean"}


@schema_of.register(PersonField)
def _(field: PersonField) -> dict[str, Any]:
    return person("An account, with the name it had then; it may be deleted since.")


@schema_of.register(JSONField)
def _(field: JSONField) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": True}
