// Sending files to the gateway and copying text; everything else of the page is trame's.
(function () {
  "use strict";
  const say = (text) => {
    const line = document.getElementById("pg-upload-status");
    if (line) line.textContent = text;
  };
  const overlay = (shown) => {
    const element = document.getElementById("pg-overlay");
    if (element) element.classList.toggle("pg-shown", shown);
  };

  async function tell(id) {
    const answer = await fetch("/ctrestore/uploaded", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ id }),
    });
    if (!answer.ok) throw new Error(await reason(answer));
  }

  async function reason(answer) {
    try {
      const error = (await answer.json()).error;
      return `${error.message} ${error.hint || ""}`.trim();
    } catch {
      return `The files were not accepted (${answer.status}).`;
    }
  }

  function send(files) {
    if (!files.length) return say("There is no file in it.");
    const form = new FormData();
    for (const [path, file] of files) {
      form.append("path", path);
      form.append("file", file, "file");
    }
    const request = new XMLHttpRequest();
    request.open("POST", "/upload");
    request.upload.onprogress = (event) => {
      const percent = event.total ? Math.round((100 * event.loaded) / event.total) : 0;
      say(`Sending ${files.length === 1 ? "1 file" : files.length + " files"}: ${percent} %`);
    };
    request.onerror = () => say("The files could not be sent: the connection broke. Try again.");
    request.onload = async () => {
      const answer = new Response(request.responseText || "{}", { status: request.status });
      try {
        if (!answer.ok) throw new Error(await reason(answer));
        await tell((await answer.json()).id);
        say("");
      } catch (error) {
        say(error.message);
      }
    };
    request.send(form);
  }

  function choose(folder) {
    const input = document.createElement("input");
    input.type = "file";
    input.multiple = true;
    input.webkitdirectory = folder;
    input.addEventListener("change", () =>
      send([...input.files].map((file) => [file.webkitRelativePath || file.name, file])),
    );
    input.style.display = "none";
    document.body.append(input);
    input.click();
    input.remove();
  }

  async function walk(entry, found) {
    if (entry.isFile) {
      const file = await new Promise((done, fail) => entry.file(done, fail));
      found.push([entry.fullPath.replace(/^\//, ""), file]);
    } else if (entry.isDirectory) {
      const reader = entry.createReader();
      for (;;) {
        const part = await new Promise((done, fail) => reader.readEntries(done, fail));
        if (!part.length) break;
        for (const inner of part) await walk(inner, found);
      }
    }
  }

  async function dropped(transfer) {
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry());
    const found = [];
    try {
      for (const entry of entries) if (entry) await walk(entry, found);
    } catch {
      return say("The folder could not be read. Choose it with the button instead.");
    }
    send(found.length ? found : [...transfer.files].map((file) => [file.name, file]));
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }

  async function copyWhenThere() {
    const before = (document.getElementById("pg-code") || {}).value;
    for (let n = 0; n < 40; n++) {
      await new Promise((done) => setTimeout(done, 50));
      const area = document.getElementById("pg-code");
      if (area && area.value && (area.value !== before || n > 10)) return copy(area.value);
    }
  }

  document.addEventListener("click", (event) => {
    const chooser = event.target.closest("[data-choose]");
    if (chooser) return choose(chooser.dataset.choose === "folder");
    const copier = event.target.closest("[data-copy]");
    if (copier) {
      const versions = document.querySelector(".pg-versions");
      return copy(`${document.getElementById(copier.dataset.copy).textContent}\n\n${versions.textContent}`);
    }
    const code = event.target.closest('[data-button="save-command"], [data-button="save-python"]');
    if (code && code.getAttribute("aria-disabled") !== "true") copyWhenThere();
  });

  let inside = 0;
  const hasFiles = (event) => [...(event.dataTransfer || {}).types || []].includes("Files");
  document.addEventListener("dragenter", (event) => hasFiles(event) && (inside++, overlay(true)));
  document.addEventListener("dragleave", (event) => hasFiles(event) && --inside <= 0 && overlay(false));
  document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    inside = 0;
    overlay(false);
    dropped(event.dataTransfer);
  });
})();
