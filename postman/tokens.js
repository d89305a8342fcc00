// Gives a request the token that it names, {{admin_access}} or {{alice_access}}: refreshes what has run out, signs in
// where that does not help, and signs Alice up where she has no account.
const saved = name => pm.environment.get(name);
const save = (name, value) => pm.environment.set(name, value);
const send = request => new Promise((done, failed) => {
    pm.sendRequest(request, (error, answer) => error ? failed(error) : done(answer));
});
const pause = seconds => new Promise(done => setTimeout(done, 1000 * seconds));

async function post(path, body) {
    const answer = await send({
        url: saved("base_url") + path,
        method: "POST",
        header: {"Content-Type": "application/json"},
        body: {mode: "raw", raw: JSON.stringify(body)},
    });
    if (answer.code !== 429) return answer;
    const seconds = Number(answer.headers.get("Retry-After"));
    console.log(`POST ${path}: over the limit; going on in ${seconds} seconds`);
    await pause(seconds);
    return post(path, body);
}

function secondsLeft(token) {
    try {
        const claims = JSON.parse(require("buffer").Buffer.from(token.split(".")[1], "base64"));
        return claims.exp - Date.now() / 1000;
    } catch {
        return 0;  // there is none, or it is no token
    }
}

const credentials = who => ({username: saved(`${who}_username`), password: saved(`${who}_password`)});

async function signUpAlice() {
    save("alice_username", `alice-${Date.now().toString(36)}`);
    save("alice_password", pm.variables.replaceIn("{{$guid}}"));
    const email = `${saved("alice_username")}@example.com`;
    const answer = await post("/user/register/", {...credentials("alice"), email});
    save("alice_id", String(answer.json().id));
}

async function signIn(who) {
    if (who === "alice" && !saved("alice_username")) await signUpAlice();
    if (!saved(`${who}_password`)) throw new Error(`set ${who}_password in the environment`);
    const answer = await post("/token/", credentials(who));
    if (answer.code !== 401 || who !== "alice") return answer;
    await signUpAlice();
    return post("/token/", credentials(who));
}

async function refresh(who) {
    const token = saved(`${who}_refresh`);
    const answer = token && await post("/token/refresh/", {refresh: token});
    return answer && answer.code === 200 ? answer : signIn(who);
}

async function giveToken(who) {
    if (secondsLeft(saved(`${who}_access`)) > 10) return;
    const answer = await refresh(who);
    if (answer.code !== 200) throw new Error(`${who} cannot sign in: ${answer.text()}`);
    save(`${who}_access`, answer.json().access);
    save(`${who}_refresh`, answer.json().refresh);
}

const auth = pm.request.auth;
const token = auth && auth.type === "bearer" ? auth.parameters().get("token") : "";
const who = (token.match(/^{{(\w+)_access}}$/) || ["", ""])[1];
pm.variables.set("who", who);
if (who) giveToken(who).catch(error => pm.test(`${who} has a token`, () => { throw error; }));
