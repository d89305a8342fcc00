// A 429 is waited out; a token that is not good, though it has not run out, is thrown away. Then the same request is
// sent again, and judged only then. A request that is sent alone is not repeated: press Send once more.
const who = pm.variables.get("who"), requestId = pm.info.requestId;
const isLimited = pm.response.code === 429;
const isRefused = pm.response.code === 401 && who && pm.variables.get("refused") !== requestId;

if (isLimited) {
    const seconds = Number(pm.response.headers.get("Retry-After"));
    console.log(`${pm.info.requestName}: over the limit; going on in ${seconds} seconds`);
    setTimeout(() => {}, 1000 * seconds);
}
if (isRefused) pm.environment.unset(`${who}_access`);
pm.variables.set("refused", isRefused ? requestId : "");
pm.variables.set("is_sent_again", isLimited || isRefused ? "yes" : "");
if (isLimited || isRefused) pm.execution.setNextRequest(requestId);
