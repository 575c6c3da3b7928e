// What the app's framework gives an action.
interface ActionArgs {
  request: Request;
  params: { groupId?: string };
}
