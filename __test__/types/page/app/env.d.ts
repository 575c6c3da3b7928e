// Arguments of an action of the framework.
interface ActionArgs {
  request: Request;
  params: { groupId?: string };
}
