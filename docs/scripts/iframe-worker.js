// A page that is opened from a disk may start no worker: the search then runs in a frame of its own.
if (location.protocol === "file:") {
  const loaded = (page, url) =>
    new Promise((resolve, reject) => {
      const script = page.createElement("script");
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${url} cannot be loaded`));
      script.src = url;
      page.body.append(script);
    });

  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      // What a worker finds in its own scope.
      inside.postMessage = (data) => setTimeout(() => this.told(structuredClone(data)));
      inside.importScripts = async (...urls) => {
        for (const each of urls) await loaded(inside.document, each);
      };
      this.ready = loaded(inside.document, String(url));
    }

    told(data) {
      const event = new MessageEvent("message", { data });
      this.dispatchEvent(event);
      this.onmessage?.(event);
    }

    async postMessage(data) {
      await this.ready;
      const inside = this.frame.contentWindow;
      inside.dispatchEvent(new MessageEvent("message", { data: structuredClone(data) }));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
