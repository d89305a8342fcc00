"""What everyone does with their own account."""

from stack.postman.steps import FORBIDDEN, GUID, Folder, Step, blames

ALICE = {"username": "{{alice_username}}", "password": "{{alice_password}}"}
NEW_ALICE = {**ALICE, "email": "{{alice_username}}@example.com"}

SIGNING_IN = Folder(
    "Sign up and sign in",
    "A new account, and the tokens of its first session.",
    (
        Step(
            name="Alice signs up",
            operation="register",
            status=201,
            body=NEW_ALICE,
            new={"alice_username": '"alice-" + Date.now().toString(36)', "alice_password": GUID},
            tests={
                "She has the name that she asked for": 'expect(answer.username).to.equal(saved("alice_username"))',
                "She is a plain user": 'expect(answer.role).to.equal("user")',
            },
            keeps={"alice_id": "answer.id"},
            forgets=("alice_access", "alice_refresh"),
        ),
        Step(
            name="Her name is taken now",
            operation="register",
            status=409,
            body=NEW_ALICE,
            tests=blames("username"),
        ),
        Step(
            name="Nobody signs up as an admin",
            operation="register",
            status=403,
            body={"username": "eve", "email": "eve@example.com", "password": "{{alice_password}}", "role": "admin"},
            tests=FORBIDDEN,
        ),
        Step(
            name="Alice signs in",
            operation="signIn",
            status=200,
            body=ALICE,
            tests={"Both tokens are there, and differ": "expect(answer.access).to.not.equal(answer.refresh)"},
            keeps={"alice_access": "answer.access", "alice_refresh": "answer.refresh"},
        ),
        Step(
            name="A wrong password",
            operation="signIn",
            status=401,
            body={**ALICE, "password": "not her password"},
            tests={"How to do it is told": 'expect(headers.get("WWW-Authenticate")).to.match(/^Bearer/)'},
        ),
        Step(
            name="The next pair of tokens",
            operation="refreshTokens",
            status=200,
            body={"refresh": "{{alice_refresh}}"},
            tests={"The refresh token is a new one": 'expect(answer.refresh).to.not.equal(saved("alice_refresh"))'},
            keeps={"alice_access": "answer.access", "alice_refresh": "answer.refresh"},
        ),
        Step(
            name="The new token is good",
            operation="verifyToken",
            status=200,
            body={"token": "{{alice_access}}"},
        ),
        Step(
            name="A spoiled token is not",
            operation="verifyToken",
            status=401,
            body={"token": "{{alice_access}}x"},
        ),
        Step(
            name="The public keys",
            operation="readKeySet",
            status=200,
            tests={"It is a list, which may be empty": 'expect(answer.keys).to.be.an("array")'},
        ),
    ),
)

OWN = Folder(
    "Own account",
    "What everyone may do with their own account, here Alice with hers.",
    (
        Step(
            name="Alice reads her account",
            operation="readOwnAccount",
            status=200,
            by="alice",
            tests={"It is hers": 'expect(answer.id).to.equal(id("alice_id"))'},
            keeps={"own_etag": 'headers.get("ETag")'},
        ),
        Step(
            name="It has not changed",
            operation="readOwnAccount",
            status=304,
            by="alice",
            headers={"If-None-Match": "{{own_etag}}"},
        ),
        Step(
            name="She has another address",
            operation="changeOwnAccount",
            status=200,
            by="alice",
            body={"email": "{{alice_username}}.smith@example.com", "current_password": "{{alice_password}}"},
            tests={
                "It is pending": (
                    'expect(answer.pending_email).to.equal(`${saved("alice_username")}.smith@example.com`)'
                ),
                "The old one is hers until then": (
                    'expect(answer.email).to.equal(`${saved("alice_username")}@example.com`)'
                ),
            },
        ),
        Step(
            name="She asks for another mail to confirm it",
            operation="resendEmailConfirmation",
            status=202,
            by="alice",
        ),
        Step(
            name="A confirmation by a token that is in no mail",
            operation="confirmEmail",
            status=400,
            body={"token": "not-from-a-mail"},
            tests=blames("token"),
        ),
        Step(
            name="Without her password she gets no other address",
            operation="changeOwnAccount",
            status=400,
            by="alice",
            body={"email": "{{alice_username}}.jones@example.com"},
            tests=blames("current_password"),
        ),
        Step(
            name="She signs in on her telephone",
            operation="signIn",
            status=200,
            body={"username": "{{alice_username}}@example.com", "password": "{{alice_password}}"},
        ),
        Step(
            name="Her sessions",
            operation="listOwnSessions",
            status=200,
            by="alice",
            tests={
                "One of them is this one": "expect(answer.results.filter(each => each.current)).to.have.lengthOf(1)",
                "Another is the telephone's": "expect(answer.results.filter(each => !each.current)).to.not.be.empty",
            },
            keeps={"session_id": "answer.results.find(each => !each.current).id"},
        ),
        Step(name="She ends the telephone's", operation="endOwnSession", status=204, by="alice"),
        Step(
            name="She changes her password",
            operation="changeOwnPassword",
            status=204,
            by="alice",
            body={"current_password": "{{alice_password}}", "new_password": "{{new_password}}"},
            new={"new_password": GUID},
            keeps={"alice_password": 'saved("new_password")'},
            forgets=("new_password", "alice_access"),  # a new password ends all access tokens
        ),
        Step(
            name="She has forgotten it",
            operation="requestPasswordReset",
            status=202,
            body={"email": "{{alice_username}}@example.com"},
        ),
        Step(
            name="A token that no mail told",
            operation="confirmPasswordReset",
            status=400,
            body={"token": "not-from-a-mail", "new_password": "{{alice_password}}"},
            tests=blames("token"),
        ),
    ),
)

SIGNING_OUT = Folder(
    "Sign out",
    "The end of one session, and of all.",
    (
        Step(
            name="Alice signs out",
            operation="signOut",
            status=204,
            body={"refresh": "{{alice_refresh}}"},
            forgets=("alice_access", "alice_refresh"),
        ),
        Step(
            name="She signs out everywhere",
            operation="signOutEverywhere",
            status=204,
            by="alice",
            forgets=("alice_access", "alice_refresh"),
        ),
    ),
)
