// Sends inputs to the server, one at a time; of those that wait, only the latest is sent.
export class Sender {
  // onAnswer(answer, path) and onError(message, field) are called for the inputs that were not cleared.
  constructor(onAnswer, onError) {
    this.onAnswer = onAnswer;
    this.onError = onError;
    this.isWaiting = false; // whether a request is under way
    this.next = null; // the latest request while waiting
    this.generation = 0; // number of clears, to ignore answers to earlier inputs
  }

  clear() {
    this.generation++;
    this.next = null;
  }

  async send(path, body) {
    if (this.isWaiting) {
      this.next = [path, body];
      return;
    }
    this.isWaiting = true;
    const { generation } = this;
    try {
      const response = await fetch(path, { method: "POST", body });
      const answer = await response.json();
      if (generation !== this.generation) {
        // The input was cleared in the meantime.
      } else if (response.ok) {
        this.onAnswer(answer, path);
      } else {
        this.onError(`This input cannot be read: ${answer.error}.`, answer.field);
      }
    } catch (error) {
      const isOffline = error instanceof TypeError;
      this.onError(isOffline ? "limbeck demo has stopped. Start it again." : `The answer cannot be read: ${error.message}.`);
    }
    this.isWaiting = false;
    if (this.next) {
      const next = this.next;
      this.next = null;
      this.send(...next);
    }
  }
}
