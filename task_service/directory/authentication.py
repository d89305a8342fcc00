"""Checks every caller against the directory, so that rights end here soon after they end in the user service."""

from chassis.api.problems import ServiceUnavailable
from chassis.auth import tokens
from chassis.auth.gate import BearerAuthentication
from chassis.auth.limits import CountedRequest
from chassis.auth.tokens import Caller, InvalidToken
from directory import accounts, client


class DirectoryAuthentication(BearerAuthentication):
    def resolve(self, token: str) -> tuple[Caller, CountedRequest | None]:
        try:
            return accounts.resolve_caller(tokens.verify_access(token))
        except (accounts.UnknownUser, accounts.InactiveUser) as error:
            raise InvalidToken("the account is gone or the token revoked") from error
        except client.DirectoryUnavailable as error:
            raise ServiceUnavailable("Your account cannot be looked up at the moment; try again shortly.") from error
