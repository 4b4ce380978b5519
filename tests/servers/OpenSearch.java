import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.opensearch.analysis.common.CommonAnalysisPlugin;
import org.opensearch.cluster.service.ClusterService;
import org.opensearch.common.settings.Settings;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.transport.Netty4Plugin;

/** One OpenSearch node in this process, its modules from the class path. In: the folder with opensearch.yml. */
public final class OpenSearch extends Node {
    private OpenSearch(Path folder) {
        super(
            InternalSettingsPreparer.prepareEnvironment(
                Settings.builder().put("path.home", folder.toString()).build(), Map.of(), folder, () -> "test"),
            List.of(Netty4Plugin.class, CommonAnalysisPlugin.class),
            true);
    }

    @Override
    protected void configureNodeAndClusterIdStateListener(ClusterService service) {
        // The original sets up logging here, which only the full distribution has.
    }

    public static void main(String[] arguments) throws Exception {
        Node node = new OpenSearch(Path.of(arguments[0]));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
            } catch (Exception error) {
                error.printStackTrace();
            }
        }));
        node.start();
        Thread.currentThread().join();
    }
}
