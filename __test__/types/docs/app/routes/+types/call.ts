// As React Router generates it, as far as the documents need it.
export declare namespace Route {
  interface ActionArgs {
    request: Request;
  }
}
