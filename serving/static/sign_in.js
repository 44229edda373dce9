// What every request carries, and the form that asks for it where the server wants a token.
import { find } from "./elements.js";
import { forgetModel } from "./model.js";

const NOT_ACCEPTED = "This token was not accepted.";
const SENDABLE = /^[!-~]+$/;
let token = "";

export const currentToken = () => token;

export function headers(more = {}) {
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

// A request may be refused for an old token after the user has given a new one.
export function refuse(sent) {
  if (sent === token) askForToken(sent ? NOT_ACCEPTED : "");
}

function askForToken(problem) {
  forgetModel();
  find("#sign-in").hidden = false;
  find("#refused").textContent = problem;
  find("#token").focus();
}

// True when there is a token to try now.
export function signIn() {
  const field = find("#token");
  const given = field.value.trim();
  field.value = "";
  find("#refused").textContent = "";
  // fetch throws for a token that no header can carry, as if the server did not answer.
  if (!SENDABLE.test(given)) {
    askForToken(`${NOT_ACCEPTED} It holds a blank or a letter that no token has.`);
    return false;
  }
  token = given;
  find("#sign-in").hidden = true;
  return true;
}
