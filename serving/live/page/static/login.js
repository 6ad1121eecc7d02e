"use strict";

const form = document.getElementById("login");
const problem = document.getElementById("problem");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  problem.hidden = true;
  const body = JSON.stringify({ token: document.getElementById("token").value });
  try {
    const response = await fetch("login", { method: "POST", headers: { "X-ADL-Page": "1" }, body });
    if (response.ok) {
      location.assign("./");
      return;
    }
    problem.textContent = (await response.json()).error;
  } catch {
    problem.textContent = "The page does not answer.";
  }
  problem.hidden = false;
});
